// From the GraphQL in which prisma-client-py asks to the JSON protocol that the engine's WebAssembly build understands.
"use strict";

const { Kind, parse } = require("graphql");

// An operation's name is an action and a model: findUniqueLiteLLM_TeamTable. Longer names stand before their beginnings.
const ACTIONS = [
  "findUniqueOrThrow",
  "findUnique",
  "findFirstOrThrow",
  "findFirst",
  "findMany",
  "createOne",
  "createMany",
  "updateOne",
  "updateMany",
  "upsertOne",
  "deleteOne",
  "deleteMany",
  "aggregate",
  "groupBy",
];
const RAW_ACTIONS = ["queryRaw", "executeRaw"];

/** The operations of a document: the name of each in the answer, and its document in the JSON protocol. */
function translate(text) {
  return parse(text).definitions[0].selectionSet.selections.map((field) => ({
    name: (field.alias ?? field.name).value,
    document: operation(field),
  }));
}

function operation(field) {
  const name = field.name.value;
  if (RAW_ACTIONS.includes(name)) {
    return { action: name, query: { arguments: args(field), selection: {} } };
  }
  const action = ACTIONS.find((known) => name.startsWith(known));
  if (!action) {
    throw new Error(`unknown operation ${name}`);
  }
  const query = { arguments: args(field), selection: selection(field.selectionSet) };
  return { modelName: name.slice(action.length), action, query };
}

function args(field) {
  return Object.fromEntries(field.arguments.map((argument) => [argument.name.value, value(argument.value)]));
}

function selection(set) {
  const fields = (set?.selections ?? []).map((field) => [
    field.name.value,
    field.selectionSet ? { arguments: args(field), selection: selection(field.selectionSet) } : true,
  ]);
  return Object.fromEntries(fields);
}

function value(node) {
  switch (node.kind) {
    case Kind.INT: {
      const number = Number(node.value);
      return Number.isSafeInteger(number) ? number : { $type: "BigInt", value: node.value };
    }
    case Kind.FLOAT:
      return Number(node.value);
    case Kind.NULL:
      return null;
    case Kind.LIST:
      return node.values.map(value);
    case Kind.OBJECT:
      return Object.fromEntries(node.fields.map((field) => [field.name.value, value(field.value)]));
    case Kind.STRING:
    case Kind.ENUM:
    case Kind.BOOLEAN:
      return node.value;
    default:
      throw new Error(`unexpected ${node.kind} in a query`);
  }
}

module.exports = { translate };
