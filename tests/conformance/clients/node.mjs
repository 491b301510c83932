// Calls `echo hi` with the client of tests/peers, which prints the reply.
const url = new URL(process.env.ESPS_PORTAL_URL);
const transport = url.protocol === "esps+udp:" ? "udp" : "tcp";
process.argv = [...process.argv.slice(0, 2), transport, url.hostname, url.port, "CALL", "echo", "hi"];
await import("../../peers/client.mjs");
