// Configuration of `prisma migrate diff` where there is no database: an empty one that answers what is asked of it, once.
const version = {
  columnNames: ["exists", "version", "numeric_version"],
  columnTypes: [5, 7, 0], // boolean, text, int32
  rows: [[true, "PostgreSQL 17.0", 170000]],
};
const database = {
  provider: "postgres",
  adapterName: "empty",
  queryRaw: async () => version,
  executeRaw: async () => 0,
  executeScript: async () => {},
  getConnectionInfo: () => ({ schemaName: "public", supportsRelationJoins: true }),
  dispose: async () => {},
};
const factory = { ...database, connect: async () => database, connectToShadowDb: async () => database };

export default { engine: "js", experimental: { adapter: true }, adapter: async () => factory };
