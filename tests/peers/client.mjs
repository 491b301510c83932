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

const MAX_LINE = 8192, ARG = String.raw`(?:""|(?:[!$&-~]|%[0-9A-Fa-f]{2})+)`;
const LINE = new RegExp(
  String.raw`^(?:[A-Za-z0-9._-]{1,32} (?:OK|DATA|ERR [a-z][a-z0-9._-]{0,63})|\* (?:ESPS/1|ERR|BYE))(?: ${ARG})*$`,
);
const tokens = (line) => {
  if (!LINE.test(line)) throw new Error(`not a line of ESPS/1: ${JSON.stringify(line.slice(0, 80))}`);
  return line.split(" ");
};

/** Process one received line; return true if it is the final reply to `tag`. */
function take(line, tag, answer) {
  const [first, kind, ...args] = tokens(line);
  const inUse = line.startsWith("* ERR tag-in-use ") && args[1] === tag;
  if (first !== tag && !inUse) return false; // a notice, or the reply to another request
  if (kind === "ERR") answer.error = args.map(decode);
  else answer.rows.push(args.map(decode));
  return kind !== "DATA";
}

function tcp(host, port, line) {
  return new Promise((resolve, reject) => {
    const answer = { rows: [] }, tag = line.split(" ")[0];
    let rest = "", greeted = false, done = false;
    const socket = net.connect(port, host, () => socket.write(`${line}\n`));
    const takeLine = (one) => {
      if (one === "" || done) return;
      if (one.startsWith("* BYE") && tokens(one)[2] !== "closing") throw new Error(one);
      if (!greeted && !/^\* (ESPS\/1|BYE)( |$)/.test(one)) throw new Error("no greeting");
      greeted = true;
      done = take(one, tag, answer);
    };
    const fail = (error) => (socket.destroy(), reject(error));
    socket.setEncoding("latin1").on("error", reject);
    socket.on("end", () => (done ? resolve(answer) : fail(new Error("no final line"))));
    socket.on("data", (data) => {
      const lines = (rest + data).split("\n");
      rest = lines.pop();
      try {
        lines.forEach((one) => takeLine(one.replace(/\r$/, "")));
        if (rest.length > MAX_LINE) throw new Error("the line is too long");
      } catch (error) {
        return fail(error);
      }
      if (done) (socket.end(), resolve(answer));
    });
  });
}

/** The lines of a datagram that is one whole answer to `tag`; null: it is none. */
function whole(data, tag) {
  const text = data.toString("latin1");
  if (!text.endsWith("\n")) return null;
  const lines = text.slice(0, -1).split("\n").map((one) => one.replace(/\r$/, ""));
  if (lines.length === 1 && lines[0] === `* ERR tag-in-use ${tag}`) return lines;
  if (!lines.every((one) => LINE.test(one) && one.startsWith(`${tag} `))) return null;
  const finals = lines.map((one) => one.split(" ")[1] !== "DATA");
  return finals.indexOf(true) === lines.length - 1 ? lines : null;
}

function udp(host, port, line) {
  return new Promise((resolve, reject) => {
    const answer = { rows: [] }, tag = line.split(" ")[0], socket = dgram.createSocket("udp4");
    let datagram = `${line}\n`, tries = 0, padded = 0, late = 0, timer;
    const finish = (settle, value) => (clearTimeout(timer), socket.close(), settle(value));
    const send = (wait) => {
      if (++tries > 5) return finish(reject, new Error("no answer"));
      socket.send(datagram, port, host);
      timer = setTimeout(send, wait, 2 * wait);
    };
    socket.on("message", (data, from) => {
      const lines = from.address === host && from.port === port ? whole(data, tag) : null;
      if (!lines) return;
      lines.forEach((one) => take(one, tag, answer));
      const needed = String(answer.error?.[0]) === "too-large" ? Number(answer.error[1]) : 0;
      if (needed && needed <= datagram.length && late) {
        [late, answer.error] = [late - 1, undefined]; // the answer to a shorter copy (ESPS-UDP-49)
        return;
      }
      if (needed <= datagram.length || needed > MAX_LINE || ++padded > 4) return finish(resolve, answer);
      clearTimeout(timer);
      late += tries - 1;
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
