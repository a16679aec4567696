// Types of PostgreSQL's own catalogue that the native engine reads and @prisma/adapter-pg 5.17 refuses.
"use strict";

const { types } = require("pg");
const { ok } = require("@prisma/driver-adapter-utils");

const TEXT = 25;
const TEXT_ARRAY = 1009;
const NAME_ARRAY = 1003;
const LIKE_TEXT = new Set([18, 19, 28, 705, 2205]); // "char", name, xid, unknown, regclass

/** Make an adapter take them as text. */
function widenTypes(adapter) {
  const queryable = Object.getPrototypeOf(adapter.prototype);
  const { performIO } = queryable;
  queryable.performIO = async function (query) {
    const result = await performIO.call(this, query);
    return result.ok ? ok(widened(result.value)) : result;
  };
}

function widened(result) {
  result.fields.forEach((field, column) => {
    if (LIKE_TEXT.has(field.dataTypeID)) {
      field.dataTypeID = TEXT;
    } else if (field.dataTypeID === NAME_ARRAY) {
      field.dataTypeID = TEXT_ARRAY;
      for (const row of result.rows) {
        row[column] = typeof row[column] === "string" ? types.getTypeParser(TEXT_ARRAY)(row[column]) : row[column];
      }
    }
  });
  return result;
}

module.exports = { widenTypes };
