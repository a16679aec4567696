"""ClickHouse's engine behind the server's interfaces."""
