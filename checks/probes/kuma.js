// Monitors and logins of an Uptime Kuma, from its database: its socket API would want a password. Runs in its container.
const { Database, OPEN_READONLY } = require("@louislam/sqlite3");

const DATABASE = "/app/data/kuma.db";
const QUERIES = {
    monitors: `SELECT monitor.id, name, description, active, type, url, hostname, port, interval, maxretries,
        (SELECT status FROM heartbeat WHERE monitor_id = monitor.id ORDER BY id DESC LIMIT 1) AS status,
        (SELECT msg FROM heartbeat WHERE monitor_id = monitor.id ORDER BY id DESC LIMIT 1) AS message,
        (SELECT count(*) FROM monitor_notification WHERE monitor_id = monitor.id) AS notifications FROM monitor`,
    users: "SELECT username AS name FROM user WHERE active",
    open: "SELECT key AS name FROM setting WHERE key = 'disableAuth' AND value = 'true'",
    notifications: "SELECT name FROM notification WHERE active",
};

const database = new Database(DATABASE, OPEN_READONLY, (error) => {
    if (error) {
        console.error(`${DATABASE}: ${error.message}`);
        process.exit(1);
    }
});

const rows = (query) => new Promise((done, failed) => {
    database.all(query, (error, found) => (error ? failed(error) : done(found)));
});

async function main() {
    const answer = {};
    for (const [ kind, query ] of Object.entries(QUERIES)) {
        answer[kind] = await rows(query);
    }
    console.log(JSON.stringify(answer));
}

main().catch((error) => {
    console.error(error.message);
    process.exit(1);
});
