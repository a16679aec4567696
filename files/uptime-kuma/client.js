// Client of an Uptime Kuma's socket API, which is the only one that it has. It runs with node in a container from Uptime
// Kuma's own image, and uses its modules; see files/facts/uptime-kuma.sh.
//
// Standard input, a JSON object:
//   username, password   of its administrator
//   beats                whether to add the last heartbeat of each monitor, and who may log in
//   actions              changes to make; without them it only prints the state
// Standard output, one line of JSON: the state, for facts/uptime_kuma.py. Secrets in it are sha256 hashes.
// A failure is reported on standard error, with the exit status 1.

const { createHash } = require("crypto");
const { readFileSync } = require("fs");
const { get } = require("http");
const { io } = require("socket.io-client");

const ADDRESS = "http://127.0.0.1:3001";
const PATIENCE_MS = 60_000;
const FIRST_BEAT_MS = 100_000;
const PENDING = 2;
const SECRET = ["pushToken", "databaseConnectionString", "telegramBotToken", "telegramChatID"];
const SETTINGS = [
    "accepted_statuscodes", "databaseConnectionString", "hostname", "interval", "maxretries", "method",
    "port", "pushToken", "retryInterval", "timeout", "type", "url",
];
const NOTIFICATION = ["isDefault", "telegramBotToken", "telegramChatID", "type"];

// The socket API does not list who may log in: that is in the database, if it is mounted beside this program.
const DATABASE = "/app/data/kuma.db";
const LOGINS = {
    users: "SELECT username AS name FROM user WHERE active ORDER BY id",
    apiKeys: "SELECT name FROM api_key WHERE active ORDER BY id",
    open: "SELECT key AS name FROM setting WHERE key = 'disableAuth' AND value = 'true'",
};

const request = JSON.parse(readFileSync(0, "utf8"));
const socket = io(ADDRESS, { transports: ["websocket"], reconnectionDelay: 500 });

/** What the server sends by itself: the newest of each kind, and of each monitor for beats. */
const received = { monitorList: undefined, notificationList: undefined, beats: new Map() };
socket.on("monitorList", (list) => (received.monitorList = list));
socket.on("notificationList", (list) => (received.notificationList = list));
socket.on("heartbeatList", (id, list) => received.beats.set(Number(id), list.at(-1) ?? null));
socket.on("heartbeat", (beat) => received.beats.set(Number(beat.monitorID), beat));

function fail(message) {
    console.error(message);
    process.exit(1);
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function until(condition, ms, what) {
    for (const end = Date.now() + ms; !condition(); await sleep(50)) {
        if (Date.now() > end) {
            fail(`Uptime Kuma: no ${what} within ${ms / 1000} s`);
        }
    }
}

const emit = (event, ...args) => socket.timeout(PATIENCE_MS).emitWithAck(event, ...args);

/** Call something that the server may refuse. */
async function call(what, event, ...args) {
    const answer = await emit(event, ...args);
    if (!answer.ok) {
        fail(`Uptime Kuma refuses to ${what}: ${answer.msg}`);
    }
    return answer;
}

const hash = (value) => createHash("sha256").update(String(value)).digest("hex");

function pick(source, keys) {
    const present = keys.filter((key) => source[key] !== null && source[key] !== undefined && source[key] !== "");
    return Object.fromEntries(present.map((key) => [ key, SECRET.includes(key) ? hash(source[key]) : source[key] ]));
}

function state() {
    const monitors = Object.values(received.monitorList).map((monitor) => ({
        id: monitor.id,
        name: monitor.name,
        description: monitor.description ?? "",
        active: Boolean(monitor.active),
        notifications: Object.keys(monitor.notificationIDList).map(Number),
        settings: pick(monitor, SETTINGS),
        status: received.beats.get(monitor.id)?.status,
        message: received.beats.get(monitor.id)?.msg,
    }));
    const notifications = received.notificationList.map(({ id, name, active, config }) => (
        { id, name, active: Boolean(active), settings: pick(JSON.parse(config), NOTIFICATION) }
    ));
    return { monitors, notifications };
}

/** Names of users, of API keys, and of the setting that disables logins; null if its database cannot be read. */
async function logins() {
    try {
        const { Database, OPEN_READONLY } = require("@louislam/sqlite3");
        const database = await new Promise((done, failed) => {
            const opened = new Database(DATABASE, OPEN_READONLY, (error) => (error ? failed(error) : done(opened)));
        });
        const names = (query) => new Promise((done, failed) => {
            database.all(query, (error, rows) => (error ? failed(error) : done(rows.map(({ name }) => name))));
        });
        const result = {};
        for (const [ kind, query ] of Object.entries(LOGINS)) {
            result[kind] = await names(query);
        }
        return result;
    } catch (error) {
        return null;
    }
}

/** The actions. One that starts a monitor with beats of its own returns the id of the monitor. */
const actions = {
    async notification({ id, settings }) {
        const answer = await call("save the notification", "addNotification", settings, id ?? null);
        return answer.id;
    },
    async add({ settings }, notification) {
        const rest = {
            accepted_statuscodes: [ "200-299" ], kafkaProducerBrokers: [], kafkaProducerSaslOptions: { mechanism: "None" },
        };
        const notificationIDList = notification ? { [notification]: true } : {};
        const { monitorID } = await call(
            `add ${settings.name}`, "add", { ...rest, ...settings, notificationIDList }
        );
        if (settings.type !== "push") {
            return monitorID;
        }
        // Before its first push, a push monitor is neither up nor down.
        const push = `${ADDRESS}/api/push/${settings.pushToken}?status=up&msg=waiting+for+the+first+run`;
        await new Promise((done, failed) => get(push, (answer) => answer.resume().on("end", done)).on("error", failed));
    },
    async edit({ id, settings }, notification) {
        // An edit empties the settings that it leaves out, so all present ones are sent with it.
        const monitor = { ...received.monitorList[id], ...settings };
        if (notification) {
            monitor.notificationIDList = { ...monitor.notificationIDList, [notification]: true };
        }
        received.beats.delete(id);
        await call(`change ${monitor.name}`, "editMonitor", monitor);
        return monitor.active && monitor.type !== "push" ? id : undefined;
    },
    async resume({ id }) {
        received.beats.delete(id);
        await call("resume a monitor", "resumeMonitor", id);
        return received.monitorList[id].type !== "push" ? id : undefined;
    },
    async delete({ id }) {
        await call("delete a monitor", "deleteMonitor", id);
    },
};

async function main() {
    await until(() => socket.connected, PATIENCE_MS, `answer on ${ADDRESS}`);
    const { username, password } = request;
    if (await emit("needSetup")) {
        if (!request.actions) {
            return { setup: true };
        }
        await call("set its administrator up", "setup", username, password);
    }
    const login = await emit("login", { username, password, token: "" });
    if (!login.ok) {
        const reason = login.tokenRequired ? "it asks for a second factor" : login.msg;
        return request.actions ? fail(`Uptime Kuma refuses the login of ${username}: ${reason}`) : { refused: reason };
    }
    await until(() => received.monitorList && received.notificationList, PATIENCE_MS, "list of its monitors");

    let notification = request.notification;
    const started = [];
    for (const { action, ...rest } of request.actions ?? []) {
        const result = await actions[action](rest, notification);
        if (action === "notification") {
            notification = result;
        } else if (result !== undefined) {
            started.push(result);
        }
    }
    if (request.actions) {
        // A later check reports whether they are up; here they only get the time to find out.
        const known = (id) => received.beats.get(id) && received.beats.get(id).status !== PENDING;
        for (const end = Date.now() + FIRST_BEAT_MS; Date.now() < end && !started.every(known); await sleep(100));
    } else if (request.beats) {
        const ids = Object.keys(received.monitorList).map(Number);
        await until(() => ids.every((id) => received.beats.has(id)), PATIENCE_MS, "heartbeats");
        return { ...state(), logins: await logins() };
    }
    return state();
}

main().then((answer) => {
    process.stdout.write(`${JSON.stringify(answer)}\n`, () => process.exit(0));
}, (error) => fail(`Uptime Kuma: ${error.message}`));
