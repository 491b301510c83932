// A test suite in Node, without packages: esps-portal run -- node --test shop.test.mjs
import assert from "node:assert/strict";
import net from "node:net";
import { after, beforeEach, test } from "node:test";

// ---- ESPS/1 in a few lines: octets that are no plain text are percent-encoded ----

const encode = (arg) =>
  [...Buffer.from(arg)]
    .map((o) => (o > 0x20 && o < 0x7f && o !== 0x22 && o !== 0x23 && o !== 0x25
      ? String.fromCharCode(o)
      : `%${o.toString(16).toUpperCase().padStart(2, "0")}`))
    .join("") || '""';
const decode = (token) => (token === '""' ? "" : decodeURIComponent(token));

class Peer {
  #waiting = new Map();
  #last = 0;
  #held = "";
  #greeted;

  constructor(url) {
    const { hostname, port } = new URL(url.replace(/^esps:/, "http:"));
    this.socket = net.connect(Number(port), hostname).setEncoding("latin1");
    // Nothing is sent before the greeting has come: a reset that comes together with the first
    // octets is told as a mere end.
    this.#greeted = new Promise((resolve, reject) => this.socket.once("data", resolve).once("error", reject));
    this.#greeted.catch(() => {}); // whoever calls is told
    this.socket.on("data", (data) => this.#take(data));
    this.socket.on("error", (error) => this.#fail(error));
    this.socket.on("end", () => this.#fail(new Error("the connection has ended")));
  }

  /** Call a service: the DATA lines, then the arguments of the OK. A refusal is thrown. */
  async call(service, ...args) {
    await this.#greeted;
    const tag = String((this.#last += 1));
    return await new Promise((resolve, reject) => {
      this.#waiting.set(tag, { rows: [], resolve, reject });
      this.socket.write(`${[tag, "CALL", service, ...args.map(encode)].join(" ")}\n`);
    });
  }

  close() {
    this.socket.destroy();
  }

  #take(data) {
    const lines = (this.#held + data).split("\n");
    this.#held = lines.pop();
    for (const line of lines) {
      const [tag, kind, ...args] = line.split(" ");
      const call = this.#waiting.get(tag);
      if (!call) continue; // a notice
      const row = args.map(decode);
      if (kind === "DATA") call.rows.push(row);
      else this.#waiting.delete(tag);
      if (kind === "OK") call.resolve({ rows: call.rows, args: row });
      if (kind === "ERR") call.reject(Object.assign(new Error(row.join(" ")), { code: row[0], rows: call.rows }));
    }
  }

  #fail(error) {
    for (const call of this.#waiting.values()) call.reject(error);
    this.#waiting.clear();
  }
}

// ---- what is tested: a shop that asks for prices, and asks again where the line breaks ----

async function price(sku, tries = 2) {
  const peer = new Peer(process.env.ESPS_PORTAL_URL);
  try {
    const { args } = await peer.call("price", sku);
    return Number(args[0]);
  } catch (error) {
    if (error.code === "ECONNRESET" && tries > 1) return await price(sku, tries - 1);
    throw error;
  } finally {
    peer.close();
  }
}

// ---- the tests ----

const portal = new Peer(process.env.ESPS_PORTAL_CONTROL_URL);
const control = async (service, ...values) => {
  const { rows } = await portal.call(service, ...values.map((value) => JSON.stringify(value)));
  return rows.map(([value]) => JSON.parse(value));
};

beforeEach(() => control("reset"));
after(() => portal.close());

test("a price", async () => {
  await control("stub", { service: "price", args: ["sku 1"], reply: "9.99" });
  assert.equal(await price("sku 1"), 9.99);
  const [call] = await control("calls", { service: "price" });
  assert.deepEqual(call.args, ["sku 1"]);
  await control("verify");
});

test("a connection that breaks is made again", async () => {
  await control("stub", { service: "price", args: [{ any: true }], reply: "5" });
  const [fault] = await control("fault", { fault: "reset", service: "price", when: "before", times: 1 });
  assert.equal(fault.fault, "reset when=before service=price times=1");
  assert.equal(await price("x"), 5);
  const calls = await control("calls", { service: "price" });
  assert.deepEqual(calls.map((call) => call.state), ["faulted", "replied"]);
  await control("verify");
});

test("one that breaks for good is an error", async () => {
  const [fault] = await control("fault", { fault: "reset", service: "price", when: "before" });
  await assert.rejects(price("x"), { code: "ECONNRESET" });
  await control("fault", { remove: fault.id });
  await assert.rejects(price("x"), { code: "unknown-service" });
});

test("a portal that is down refuses", async () => {
  await control("down", { down: true });
  await assert.rejects(price("x"), { code: "ECONNREFUSED" });
  await control("down", { down: false });
});

test("a call that is still to come", async () => {
  await control("stub", { service: "price", args: ["x"], delay: 0.05, reply: "1" });
  const waiting = control("wait", { service: "price", count: 1, timeout: 10 });
  assert.equal(await price("x"), 1);
  assert.equal((await waiting).length, 1);
});

test("what was not as the stubs say is told", async () => {
  await control("stub", { service: "price", args: ["x"], reply: "1" });
  await assert.rejects(price("y"), { code: "unmatched" });
  await assert.rejects(control("verify"), (refusal) => {
    assert.equal(refusal.code, "x-unverified");
    const problems = refusal.rows.map(([value]) => JSON.parse(value));
    assert.match(problems[0], /^unexpected call: price 'y'/);
    assert.match(problems[1], /^unused stub: price 'x': never used/);
    return true;
  });
});
