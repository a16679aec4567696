// What containers may request of an Ollama instance. nginx calls `handle` for each of their requests.
//
// A body is not forwarded as it came. Ollama takes a key in any case ("KEEP_ALIVE") and merges two of the same name, so it
// could read another request than the one that was checked. The forwarded body is written anew, with the keys named here
// only. The others are left out: the declared release does not know them, or they move a model off its card.
//
// Sources: server/routes.go, server/sched.go (needsReload), api/types.go and openai/openai.go of Ollama.

const COMMON = ['model', 'stream', 'format', 'keep_alive', 'options', 'think', 'truncate', 'shift', 'logprobs', 'top_logprobs'];
const OPENAI = [
    'model', 'stream', 'stream_options', 'max_tokens', 'seed', 'stop', 'temperature', 'top_p', 'frequency_penalty',
    'presence_penalty', 'logprobs', 'top_logprobs',
];

// Keys of a body by method and path; null: no body. Any other route manages models, or is new: refused.
const ROUTES = {
    'GET /': null,
    'GET /api/version': null,
    'GET /api/tags': null,
    'GET /api/ps': null,
    'GET /v1/models': null,
    'POST /api/show': ['model', 'name', 'verbose'],
    'POST /api/generate': COMMON.concat(['prompt', 'suffix', 'system', 'template', 'context', 'raw', 'images']),
    'POST /api/chat': COMMON.concat(['messages', 'tools']),
    'POST /api/embed': ['model', 'input', 'truncate', 'dimensions', 'keep_alive', 'options'],
    'POST /api/embeddings': ['model', 'prompt', 'keep_alive', 'options'],
    'POST /v1/chat/completions': OPENAI.concat([
        'messages', 'response_format', 'tools', 'tool_choice', 'reasoning', 'reasoning_effort',
    ]),
    'POST /v1/completions': OPENAI.concat(['prompt', 'suffix']),
    'POST /v1/embeddings': ['model', 'input', 'dimensions', 'encoding_format'],
};

// Options of one request, and options that Ollama starts a model with: another value of these reloads it for everybody.
const OF_A_REQUEST = [
    'num_keep', 'seed', 'num_predict', 'top_k', 'top_p', 'min_p', 'typical_p', 'repeat_last_n', 'temperature',
    'repeat_penalty', 'presence_penalty', 'frequency_penalty', 'stop',
];
const OF_A_MODEL = ['num_ctx', 'num_batch', 'num_gpu', 'main_gpu', 'use_mmap', 'num_thread', 'draft_num_predict'];

// A duration that Ollama takes for "for good", which is what the instances are set to.
const FOR_GOOD = /^-[1-9][0-9]*(s|m|h)$/;

function has(object, key) {
    return Object.prototype.hasOwnProperty.call(object, key) && object[key] !== null;
}

function isObject(value) {
    return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function forGood(duration) {
    return typeof duration === 'number' ? duration < 0 : FOR_GOOD.test(String(duration));
}

// A value for a message: short, and in one line.
function shown(value) {
    const text = JSON.stringify(value) || 'nothing';
    return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

// Why the options of a request are refused, or an empty text.
function refusedOption(options, instance) {
    if (!isObject(options)) {
        return 'options: found no object';
    }
    const found = OF_A_MODEL.filter((name) => has(options, name))
        .filter((name) => name !== 'num_ctx' || options.num_ctx !== instance.context);
    if (!found.length) {
        return '';
    }
    const expected = found[0] === 'num_ctx' ? `${instance.context}, or none` : 'none';
    return `options.${found[0]}: found ${shown(options[found[0]])}, expected ${expected}; `
        + `another value would load ${instance.model} anew, for everybody`;
}

// Why a request is refused, or an empty text.
//   body: the body of the request
//   keys: those that its route takes
//   instance: model, context (tokens) and yields_gpu (whether a container shares its card) of the instance
function refusal(body, keys, instance) {
    const model = keys.includes('name') && !body.model ? body.name : body.model;
    if (model !== instance.model) {
        return `model: found ${shown(model)}, expected ${instance.model}; `
            + 'another one would push that out of its card, and has an instance of its own';
    }
    if (keys.includes('keep_alive') && has(body, 'keep_alive') && !instance.yields_gpu && !forGood(body.keep_alive)) {
        return `keep_alive: found ${shown(body.keep_alive)}, expected -1, or none; `
            + `no container takes turns with ${instance.model}, it stays loaded`;
    }
    if (keys.includes('shift') && has(body, 'shift') && body.shift !== true) {
        return `shift: found ${shown(body.shift)}, expected true, or none; `
            + `another value would load ${instance.model} anew, for everybody`;
    }
    return keys.includes('options') && has(body, 'options') ? refusedOption(body.options, instance) : '';
}

function pick(object, keys) {
    const result = {};
    keys.filter((key) => has(object, key)).forEach((key) => {
        result[key] = object[key];
    });
    return result;
}

// The body that is forwarded to Ollama.
function forwarded(body, keys) {
    const result = pick(body, keys);
    if (result.options) {
        result.options = pick(result.options, OF_A_REQUEST.concat(['num_ctx']));
    }
    return JSON.stringify(result);
}

function parsed(text) {
    try {
        return JSON.parse(text);
    } catch (error) {
        return undefined;
    }
}

// An error in the format of the API that the route belongs to.
function fail(r, status, message) {
    r.warn(`${r.remoteAddress} refused with ${status} on port ${r.variables.server_port}: ${message}`);
    const openai = { message, type: 'invalid_request_error', param: null, code: null };
    r.headersOut['Content-Type'] = 'application/json; charset=utf-8';
    r.return(status, JSON.stringify({ error: r.uri.startsWith('/v1/') ? openai : message }));
}

function handle(r) {
    const instance = JSON.parse(r.variables.instance);
    const route = `${r.method === 'HEAD' ? 'GET' : r.method} ${r.uri}`;
    if (route === `GET /v1/models/${instance.model}` || ROUTES[route] === null) {
        r.internalRedirect('@ollama');
        return;
    }
    if (!has(ROUTES, route)) {
        fail(r, 403, `${shown(route)}: not for containers; models are managed on the host`);
        return;
    }
    const body = parsed(r.requestText);
    if (!isObject(body)) {
        fail(r, 400, 'body: found no JSON object, or one that is nested too deep');
        return;
    }
    const reason = refusal(body, ROUTES[route], instance);
    if (reason) {
        fail(r, 403, reason);
        return;
    }
    r.variables.body = forwarded(body, ROUTES[route]);
    r.internalRedirect('@ollama');
}

export default { handle };
