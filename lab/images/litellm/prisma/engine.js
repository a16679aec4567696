// Prisma's query engine (WebAssembly, PostgreSQL) on a node-postgres pool, spoken to in the client's GraphQL.
"use strict";

const fs = require("node:fs");
const { Pool } = require("pg");
const { PrismaPg } = require("@prisma/adapter-pg");
const { bindAdapter } = require("@prisma/driver-adapter-utils");
const bindings = require("@prisma/client/runtime/query_engine_bg.postgresql.js");
const { translate } = require("./graphql.js");
const { Models, plain, rawRows } = require("./values.js");
const { widenTypes } = require("./types.js");

/** Commit of the engines of Prisma 5.17.0, which the native binary prints as its version. */
const VERSION = "393aa359c9ad4a4bb28630fb5613f9c281cde053";
const NO_TRACE = "{}";

class Engine {
  constructor(engine, models) {
    this.engine = engine;
    this.models = models;
  }

  /**
   * Load the engine for a data model and connect it.
   * @param environment PRISMA_DML_PATH names the data model; OVERWRITE_DATASOURCES or DATABASE_URL the database
   */
  static async start(environment) {
    const datamodel = withDriverAdapters(fs.readFileSync(environment.PRISMA_DML_PATH, "utf8"));
    const overwritten = JSON.parse(environment.OVERWRITE_DATASOURCES ?? "[]");
    const { options, schema } = database(overwritten[0]?.url ?? environment.DATABASE_URL);
    const pool = new Pool(options);
    // A connection that breaks while it is idle; without a listener that would end this process.
    pool.on("error", (error) => console.error("query-engine:", error.message));
    widenTypes(PrismaPg);
    load();
    const engine = new bindings.QueryEngine(
      {
        datamodel,
        env: { ...environment, DATABASE_URL: options.connectionString },
        logQueries: false,
        logLevel: "error",
        ignoreEnvVarErrors: true,
        datasourceOverrides: {},
        configDir: ".",
        engineProtocol: "json",
      },
      () => {},
      bindAdapter(new PrismaPg(pool, { schema })),
    );
    await engine.connect(NO_TRACE);
    return new Engine(engine, new Models(datamodel));
  }

  /** Every field of one GraphQL operation, one after the other. */
  async query(text, transaction) {
    const data = {};
    for (const { name, document } of this.#documents(text)) {
      const result = JSON.parse(await this.engine.query(JSON.stringify(document), NO_TRACE, transaction));
      if (result.errors) {
        return result;
      }
      const [value] = Object.values(result.data);
      data[name] = document.action === "queryRaw" ? rawRows(value) : plain(value);
    }
    return { data };
  }

  /** Several operations at once, in a transaction of their own if the client wants one. */
  async batch({ batch, transaction: together, isolation_level: isolationLevel }, transaction) {
    const operations = batch.map(({ query }) => this.#documents(query)[0]);
    const request = {
      batch: operations.map(({ document }) => document),
      transaction: together ? { isolationLevel } : undefined,
    };
    const result = JSON.parse(await this.engine.query(JSON.stringify(request), NO_TRACE, transaction));
    if (result.errors) {
      return result;
    }
    const results = result.batchResult.map((one, index) => {
      if (one.errors) {
        return one;
      }
      const [value] = Object.values(one.data);
      return { data: { [operations[index].name]: plain(value) } };
    });
    return { batchResult: results };
  }

  async begin(options) {
    return JSON.parse(await this.engine.startTransaction(options, NO_TRACE));
  }

  async commit(transaction) {
    return JSON.parse(await this.engine.commitTransaction(transaction, NO_TRACE));
  }

  async rollback(transaction) {
    return JSON.parse(await this.engine.rollbackTransaction(transaction, NO_TRACE));
  }

  #documents(text) {
    const operations = translate(text);
    for (const { document } of operations) {
      if (document.modelName) {
        document.query.arguments = this.models.tagged(document.modelName, document.query.arguments);
      }
    }
    return operations;
  }
}

/** The data model for the engine: it runs on an adapter only where the generator allows that. */
function withDriverAdapters(datamodel) {
  const generator = 'generator engine {\n  provider = "prisma-client-js"\n  previewFeatures = ["driverAdapters"]\n}\n';
  return `${datamodel.replace(/^generator\s+\w+\s*\{[^}]*\}/gm, "")}\n${generator}`;
}

/** Options of the pool, from an address with Prisma's own parameters, which node-postgres does not know. */
function database(address) {
  const url = new URL(address);
  const take = (name) => {
    const value = url.searchParams.get(name);
    url.searchParams.delete(name);
    return value;
  };
  const schema = take("schema") ?? "public";
  const max = Number(take("connection_limit") ?? 10);
  const connectionTimeoutMillis = 1000 * Number(take("pool_timeout") ?? 10);
  ["connect_timeout", "pgbouncer", "socket_timeout", "statement_cache_size"].forEach(take);
  return { schema, options: { connectionString: url.toString(), max, connectionTimeoutMillis } };
}

function load() {
  const file = require.resolve("@prisma/client/runtime/query_engine_bg.postgresql.wasm");
  const instance = new WebAssembly.Instance(new WebAssembly.Module(fs.readFileSync(file)), {
    "./query_engine_bg.js": bindings,
  });
  bindings.__wbg_set_wasm(instance.exports);
}

module.exports = { Engine, VERSION };
