// A test suite in Node, without packages: esps-portal run -- node --test shop.test.mjs
import assert from "node:assert/strict";
import net from "node:net";
import { beforeEach, test } from "node:test";

// ---- what is tested: a shop that asks for prices, and asks again where the line breaks ----

/** Ask once, over a connection of its own: one line for one line. */
function ask(sku) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(Number(process.env.ESPS_PORTAL_PORT), process.env.ESPS_PORTAL_HOST);
    let received = "";
    socket.setEncoding("utf8").on("error", reject);
    socket.on("end", () => reject(new Error("the connection has ended")));
    socket.on("data", (data) => {
      const lines = (received += data).split("\n");
      // The first line is the greeting: nothing is sent before it has come.
      if (lines.length === 2) socket.write(`1 CALL price ${sku}\n`);
      if (lines.length < 3) return;
      socket.destroy();
      const [, kind, ...args] = lines[1].split(" ");
      if (kind === "OK") resolve(Number(args[0]));
      else reject(Object.assign(new Error(args.join(" ")), { code: args[0] }));
    });
  });
}

async function price(sku, tries = 2) {
  try {
    return await ask(sku);
  } catch (error) {
    if (error.code === "ECONNRESET" && tries > 1) return await price(sku, tries - 1);
    throw error;
  }
}

// ---- the tests ----

async function control(method, path, value) {
  const response = await fetch(process.env.ESPS_PORTAL_CONTROL_URL + path, {
    method,
    headers: { "content-type": "application/json" },
    body: value && JSON.stringify(value),
  });
  const found = await response.json();
  if (!response.ok) throw new Error(`${found.key}: ${found.error}`);
  return found;
}

beforeEach(() => control("POST", "/reset"));

test("a price", async () => {
  await control("POST", "/stubs", { service: "price", args: ["sku-1"], reply: "9.99" });
  assert.equal(await price("sku-1"), 9.99);
  const [call] = await control("GET", "/calls?service=price");
  assert.deepEqual(call.args, ["sku-1"]);
  assert.deepEqual((await control("POST", "/verify")).problems, []);
});

test("a connection that breaks is made again", async () => {
  await control("POST", "/stubs", { service: "price", args: [{ any: true }], reply: "5" });
  await control("POST", "/faults", { fault: "reset", service: "price", when: "before", times: 1 });
  assert.equal(await price("x"), 5);
  const calls = await control("GET", "/calls");
  assert.deepEqual(calls.map((call) => call.state), ["faulted", "replied"]);
  assert.equal((await control("POST", "/verify")).ok, true);
});

test("one that breaks for good is an error", async () => {
  const fault = await control("POST", "/faults", { fault: "reset", service: "price", when: "before" });
  await assert.rejects(price("x"), { code: "ECONNRESET" });
  assert.equal((await control("DELETE", `/faults/${fault.id}`)).happened, 2);
  await assert.rejects(price("x"), { code: "unknown-service" });
});

test("a portal that is down refuses", async () => {
  await control("POST", "/down");
  await assert.rejects(price("x"), { code: "ECONNREFUSED" });
  await control("DELETE", "/down");
  await assert.rejects(price("x"), { code: "unknown-service" });
});

test("a call that is still to come", async () => {
  await control("POST", "/stubs", { service: "price", args: ["x"], delay: 0.05, reply: "1" });
  const waiting = control("POST", "/wait", { service: "price", count: 1, timeout: 10 });
  assert.equal(await price("x"), 1);
  const { reached, calls } = await waiting;
  assert.deepEqual([reached, calls.length], [true, 1]);
});

test("what was not as the stubs say is a problem", async () => {
  await control("POST", "/stubs", { service: "price", args: ["x"], reply: "1" });
  await assert.rejects(price("y"), { code: "unmatched" });
  const { ok, problems } = await control("POST", "/verify");
  assert.equal(ok, false);
  assert.match(problems[0], /^unexpected call: price 'y'/);
  assert.match(problems[1], /^unused stub: price 'x': never used/);
});

test("a server of any protocol, behind a proxy", async () => {
  const upstream = `tcp://${process.env.ESPS_PORTAL_HOST}:${process.env.ESPS_PORTAL_PORT}`;
  const proxy = await control("POST", "/proxies", { name: "front", upstream });
  await control("POST", "/proxies/front/faults", { fault: "reset", match: "PING" });
  const socket = net.connect(proxy.port, proxy.host);
  socket.once("data", () => socket.write("a PING\n"));
  const [error] = await new Promise((resolve) => socket.on("error", (...found) => resolve(found)));
  assert.equal(error.code, "ECONNRESET");
  const exchanges = await control("GET", "/proxies/front/exchanges?match=PING");
  assert.equal(exchanges[0].reply, "a OK\n");
  await control("DELETE", "/proxies/front");
});

test("a mistake names its key", async () => {
  await assert.rejects(control("POST", "/stubs", { service: "price", times: 0 }), {
    message: "times: must be a positive integer, got 0",
  });
});
