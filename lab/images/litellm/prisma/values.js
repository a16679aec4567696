// Values that GraphQL and the JSON protocol write differently.
"use strict";

/** The fields of each model, to know which of them hold JSON. */
class Models {
  constructor(datamodel) {
    this.models = {};
    for (const [, name, body] of datamodel.matchAll(/^model\s+(\w+)\s*\{(.*?)^\}/gms)) {
      const fields = body.matchAll(/^\s*(\w+)\s+(\w+)/gm);
      this.models[name] = Object.fromEntries(Array.from(fields, ([, field, type]) => [field, type]));
    }
  }

  /** Arguments of an operation on a model, with the JSON in them marked as such: GraphQL has it as plain text. */
  tagged(model, given) {
    if (Array.isArray(given)) {
      return given.map((one) => this.tagged(model, one));
    }
    if (given === null || typeof given !== "object" || "$type" in given) {
      return given;
    }
    const entries = Object.entries(given).map(([name, value]) => {
      const type = this.models[model]?.[name];
      if (type === "Json") {
        return [name, json(value)];
      }
      return [name, this.tagged(type in this.models ? type : model, value)];
    });
    return Object.fromEntries(entries);
  }
}

/** A JSON field's value, or a filter or change of it. */
function json(value) {
  if (typeof value === "string") {
    return { $type: "Json", value };
  }
  if (value === null || typeof value !== "object") {
    return value;
  }
  const entries = Object.entries(value).map(([name, inner]) => [
    name,
    ["set", "equals", "not"].includes(name) ? json(inner) : inner,
  ]);
  return Object.fromEntries(entries);
}

/** A result without the protocol's tags: the client wants the bare scalars. */
function plain(value) {
  if (Array.isArray(value)) {
    return value.map(plain);
  }
  if (value === null || typeof value !== "object") {
    return value;
  }
  if ("$type" in value) {
    return value.value;
  }
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
}

/** The rows of a raw query as objects of typed values, which is how engines answered when the client was made. */
function rawRows({ columns, types, rows }) {
  const typed = (type, value) => ({ prisma__type: value === null ? "null" : type, prisma__value: value });
  return rows.map((row) => Object.fromEntries(row.map((value, index) => [columns[index], typed(types[index], value)])));
}

module.exports = { Models, plain, rawRows };
