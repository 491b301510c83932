// A client for ESPS/1 in Node, written from spec/ alone: node client.mjs tcp|udp HOST PORT VERB [arg...]
import dgram from "node:dgram";
import net from "node:net";
import { randomBytes } from "node:crypto";

const plain = (byte) => byte === 0x21 || byte === 0x24 || (byte >= 0x26 && byte <= 0x7e);
const escape = (byte) => "%" + byte.toString(16).toUpperCase().padStart(2, "0");
const encode = (arg) =>
  [...Buffer.from(arg)].map((b) => (plain(b) ? String.fromCharCode(b) : escape(b))).join("") || '""';
const decode = (token) => {
  const text = token === '""' ? "" : token.replace(/%(..)/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(text, "latin1");
};
const request = (verb, args) => [randomBytes(8).toString("hex"), verb, ...args.map(encode)].join(" ");

/** Process one received line; return true if it is the final reply to `tag`. */
function take(line, tag, answer) {
  const [first, kind, ...args] = line.split(" ");
  if (first !== tag) return false; // a notice, or the reply to another request
  if (kind === "ERR") answer.error = args.map(decode);
  else answer.rows.push(args.map(decode));
  return kind !== "DATA";
}

function tcp(host, port, line) {
  return new Promise((resolve, reject) => {
    const answer = { rows: [] }, tag = line.split(" ")[0];
    let rest = "";
    const socket = net.connect(port, host, () => socket.write(`${line}\nq QUIT\n`));
    socket.setEncoding("latin1").on("error", reject).on("end", () => resolve(answer));
    socket.on("data", (data) => {
      const lines = (rest + data).split("\n");
      rest = lines.pop();
      lines.forEach((one) => take(one, tag, answer));
    });
  });
}

function udp(host, port, line) {
  return new Promise((resolve, reject) => {
    const answer = { rows: [] }, tag = line.split(" ")[0], socket = dgram.createSocket("udp4");
    let datagram = `${line}\n`, tries = 0, timer;
    const finish = (settle, value) => (clearTimeout(timer), socket.close(), settle(value));
    const send = (wait) => {
      if (++tries > 5) return finish(reject, new Error("no answer"));
      socket.send(datagram, port, host);
      timer = setTimeout(send, wait, 2 * wait);
    };
    socket.on("message", (data) => {
      const done = data.toString("latin1").trimEnd().split("\n").map((one) => take(one, tag, answer)).pop();
      if (!done) return;
      const needed = String(answer.error?.[0]) === "too-large" ? Number(answer.error[1]) : 0;
      if (needed <= datagram.length) return finish(resolve, answer);
      clearTimeout(timer);
      [datagram, tries, answer.error] = [`${line} ${"#".repeat(Math.max(1, needed - line.length - 2))}\n`, 0, undefined];
      send(100);
    });
    send(100 * (1 + Math.random() / 2));
  });
}

const [, , transport, host, port, verb, ...args] = process.argv;
const answer = await { tcp, udp }[transport](host, Number(port), request(verb, args));
for (const row of answer.rows) console.log(row.join(" "));
if (answer.error) console.error(answer.error.join(" "));
process.exitCode = answer.error ? 1 : 0;
