// The console's JSON API, with the caller's key. The key stays in this tab's sessionStorage and is
// sent in a header; it never stands in an address.

const KEY = "tierwise.key";
const unanswered = new Map();

/** An answer that is not what was asked for, with what to do about it. */
export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }

  /** Whether another key may help. */
  get wantsKey() {
    return this.status === 401 || (this.status === 403 && this.code === "not_allowed");
  }
}

export function storedKey() {
  return sessionStorage.getItem(KEY);
}

export function storeKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** Return the JSON that `path` answers with. Rejects with an ApiError. */
export async function get(path, query = {}) {
  return JSON.parse(await getText(path, query));
}

/** Return the text of an answer, for numbers that JSON.parse would round. */
export async function getText(path, query = {}) {
  const known = Object.entries(query).filter(([, value]) => value !== null && value !== "");
  const search = new URLSearchParams(known).toString();
  const answer = await request("GET", search ? `${path}?${search}` : path, {});
  return answer.text();
}

/** Ask for a change; `base` is what it is made for (If-Match). When no answer came, the same change
 * asked for again goes under the same Idempotency-Key, so that it takes place once. */
export async function change(method, path, body, base = null) {
  const content = body === null ? undefined : JSON.stringify(body);
  const wish = JSON.stringify([method, path, content, base]);
  const key = unanswered.get(wish) ?? freshKey();
  unanswered.set(wish, key);
  const headers = { "content-type": "application/json", "idempotency-key": key };
  if (base !== null) headers["if-match"] = base;
  try {
    const answer = await request(method, path, headers, content);
    unanswered.delete(wish);
    return await answer.json();
  } catch (error) {
    if (error.status !== 0) unanswered.delete(wish);
    throw error;
  }
}

/** Return a part of a path: an id that came from elsewhere. */
export function segment(text) {
  return encodeURIComponent(text);
}

function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function request(method, path, headers, body) {
  const key = storedKey();
  if (key) headers.authorization = `Bearer ${key}`;
  let answer;
  try {
    answer = await fetch(path, { method, headers, body, signal: AbortSignal.timeout(30000) });
  } catch {
    throw new ApiError(
      0, "unreachable", "The collector does not answer. Is it running? tierwise collector starts it.",
    );
  }
  if (!answer.ok) throw await failure(answer);
  return answer;
}

async function failure(answer) {
  const fallback = `The collector answered ${answer.status}. Its log says why.`;
  try {
    const { error } = await answer.json();
    return new ApiError(answer.status, String(error.code), String(error.message));
  } catch {
    return new ApiError(answer.status, "unknown", fallback);
  }
}
