-- A dissector of ESPS/1 for Wireshark and tshark, over TCP and UDP.
--
-- For one run:   tshark -X lua_script:esps.lua -r capture.pcap -Y esps
-- For all runs:  copy it to the folder of personal Lua plugins (tshark -G folders).
--
-- It takes port 2867, also over TLS. On another port it recognises a greeting, a HELLO, and over
-- UDP any request; else choose "Decode As" (tshark -d tcp.port==4000,esps). Some filters:
--
--   esps.code                  errors
--   esps.time > 0.1            slow answers
--   esps.retransmission_of     requests that were sent again over UDP
--   esps.service == "echo"     calls of a service
--   esps.arg == "two words"    an argument, decoded
--
-- esps.response_in, at a request, needs two passes in tshark (-2). The direction of a line decides
-- whether it is a request: the server has the known port, or else the first line shows who it is.

local esps = Proto("esps", "ESPS/1")

local PORT = 2867
local UDP = 3 -- pinfo.port_type
local MAX_LINE = 8192 -- the default of max-line
local MAX_UNTERMINATED = 65536 -- after so much without LF a server ends the connection
local SHOWN = 120 -- bytes of a line in the column

local fields = {
  kind = ProtoField.string("esps.kind", "Kind"),
  tag = ProtoField.string("esps.tag", "Tag"),
  verb = ProtoField.string("esps.verb", "Verb"),
  service = ProtoField.string("esps.service", "Service"),
  status = ProtoField.string("esps.status", "Status"),
  code = ProtoField.string("esps.code", "Error code"),
  text = ProtoField.string("esps.text", "Error text"),
  needed = ProtoField.uint32("esps.needed", "Request length that makes room"),
  notice = ProtoField.string("esps.notice", "Notice"),
  version = ProtoField.string("esps.version", "Version"),
  product = ProtoField.string("esps.product", "Product"),
  arg = ProtoField.string("esps.arg", "Argument"),
  padding = ProtoField.uint32("esps.padding", "Padding bytes"),
  malformed = ProtoField.string("esps.malformed", "Malformed"),
  response_in = ProtoField.framenum("esps.response_in", "Response in", base.NONE, frametype.RESPONSE),
  response_to = ProtoField.framenum("esps.response_to", "Response to", base.NONE, frametype.REQUEST),
  time = ProtoField.relative_time("esps.time", "Time from the request"),
  retransmission_of = ProtoField.framenum("esps.retransmission_of", "Retransmission of"),
  padded_from = ProtoField.framenum("esps.padded_from", "Sent again with more padding; first in"),
  repeated_reply = ProtoField.framenum("esps.repeated_reply", "The same reply as in"),
}
esps.fields = fields

local group, severity = expert.group, expert.severity
local experts = {
  error = ProtoExpert.new("esps.error", "Error reply", group.RESPONSE_CODE, severity.NOTE),
  bye = ProtoExpert.new("esps.bye", "The server ends the connection", group.SEQUENCE, severity.NOTE),
  malformed = ProtoExpert.new("esps.bad_line", "Malformed line", group.MALFORMED, severity.ERROR),
  too_long = ProtoExpert.new("esps.too_long", "Longer than max-line by default", group.PROTOCOL, severity.WARN),
  cr = ProtoExpert.new("esps.cr", "A sender ends a line with LF alone", group.PROTOCOL, severity.CHAT),
  retransmission = ProtoExpert.new("esps.retransmission", "Retransmission", group.SEQUENCE, severity.NOTE),
  padded = ProtoExpert.new("esps.padded", "Sent again to make room", group.SEQUENCE, severity.CHAT),
  replayed = ProtoExpert.new("esps.replayed", "The reply is sent again", group.SEQUENCE, severity.NOTE),
  tag_reused = ProtoExpert.new("esps.tag_reused", "Tag in use by another request", group.SEQUENCE, severity.WARN),
  unasked = ProtoExpert.new("esps.unasked", "No request in this capture", group.SEQUENCE, severity.NOTE),
}
esps.experts = experts

-- ---- The grammar ----------------------------------------------------------------

local function printable(bytes)
  return (bytes:gsub("[^ -~]", function(c) return ("\\x%02X"):format(c:byte()) end))
end

-- UTF-8 without control characters: no overlong form, no surrogate, no C1.
local UTF8 = {
  "\xF0[\x90-\xBF][\x80-\xBF][\x80-\xBF]", "[\xF1-\xF3][\x80-\xBF][\x80-\xBF][\x80-\xBF]",
  "\xF4[\x80-\x8F][\x80-\xBF][\x80-\xBF]", "\xE0[\xA0-\xBF][\x80-\xBF]",
  "[\xE1-\xEC\xEE\xEF][\x80-\xBF][\x80-\xBF]", "\xED[\x80-\x9F][\x80-\xBF]",
  "[\xC3-\xDF][\x80-\xBF]", "\xC2[\xA0-\xBF]",
}

local function readable(bytes)
  local left = bytes
  for _, pattern in ipairs(UTF8) do left = left:gsub(pattern, "u") end
  return left:find("[^ -~]") and printable(bytes) or bytes
end

local function decoded(arg)
  if arg == '""' then return "" end
  return readable((arg:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)))
end

local function is_tag(text) return #text <= 32 and text:find("^[A-Za-z0-9._-]+$") ~= nil end
local function is_verb(text) return #text <= 16 and text:find("^[A-Za-z]+$") ~= nil end
local function is_name(text) return #text <= 64 and text:find("^[a-z][A-Za-z0-9._-]*$") ~= nil end
local function is_arg(text)
  if text == '""' then return true end
  return text:find("^[!$%%&-~]+$") ~= nil and text:gsub("%%%x%x", ""):find("%", 1, true) == nil
end

-- Returns the tokens of a line, each with its offset; an empty token where SP are doubled.
local function split(text)
  local tokens, from = {}, 1
  while true do
    local space = text:find(" ", from, true)
    tokens[#tokens + 1] = { text = text:sub(from, (space or #text + 1) - 1), offset = from - 1 }
    if not space then return tokens end
    from = space + 1
  end
end

-- Takes the arguments from the tokens; returns what is wrong with them.
local function take_args(line, tokens, first, may_be_padded)
  local last = #tokens
  if may_be_padded and last >= first and tokens[last].text:find("^#+$") then
    line.padding = tokens[last]
    last = last - 1
  end
  for index = first, last do
    if not is_arg(tokens[index].text) then return "a malformed argument, or SP before it" end
    line.args[#line.args + 1] = tokens[index]
  end
end

local VERSION_NOTICE = "ESPS/1"
local NOTICES = { [VERSION_NOTICE] = true, ERR = true, BYE = true }
local STATUSES = { OK = true, DATA = true, ERR = true }

local function parse_answer(line, tokens)
  local word = tokens[2] and tokens[2].text
  if tokens[1].text == "*" then
    line.kind = "notice"
    if not NOTICES[word] then return "no word of a notice" end
    line.notice = tokens[2]
  else
    line.kind = "reply"
    if not STATUSES[word] then return "no OK, DATA or ERR" end
    line.status = tokens[2]
  end
  if word == "ERR" then
    if not (tokens[3] and is_name(tokens[3].text)) then return "no error code" end
    line.code = tokens[3]
  end
  return take_args(line, tokens, line.code and 4 or 3, false)
end

local function parse_request(line, tokens)
  line.kind = "request"
  if not line.tag then return "no tag" end
  if not (tokens[2] and is_verb(tokens[2].text)) then return "no verb" end
  line.verb = tokens[2]
  return take_args(line, tokens, 3, true)
end

-- Returns a line, given without its LF and the CR before it. Its tag is read even if it is malformed.
local function parse(text, from_server)
  local tokens = split(text)
  local line = { text = text, args = {} }
  if is_tag(tokens[1].text) then line.tag = tokens[1] end
  line.malformed = (from_server and parse_answer or parse_request)(line, tokens)
  if from_server and not line.tag and line.kind == "reply" then line.malformed = "no tag" end
  if text:find("[^ -~]") then line.malformed = "a byte that is not visible ASCII" end
  return line
end

-- ---- Requests and their replies -------------------------------------------------

-- Filled when a capture is read for the first time, in order; later packets are shown in any order.
local conversations, facts_of = {}, {}

function esps.init() conversations, facts_of = {}, {} end

local function end_of(address, port) return tostring(address) .. " " .. port end

-- By its ends: the number of a stream is not known when a capture is read for the first time.
local function conversation_of(pinfo)
  local ends = { end_of(pinfo.src, pinfo.src_port), end_of(pinfo.dst, pinfo.dst_port) }
  table.sort(ends)
  local key = pinfo.port_type .. ":" .. table.concat(ends, " ")
  local found = conversations[key]
  if not found then
    found = { is_udp = pinfo.port_type == UDP, running = {}, reused = {}, rejected = {} }
    conversations[key] = found
  end
  return found
end

local function from_server(conversation, pinfo, text)
  local source, destination = end_of(pinfo.src, pinfo.src_port), end_of(pinfo.dst, pinfo.dst_port)
  if not conversation.server then
    local word = text:match("^%S* (%S*)")
    local is_source = text:sub(1, 1) == "*" or STATUSES[word] or false
    for _, port in ipairs({ pinfo.match, PORT }) do
      if pinfo.src_port ~= pinfo.dst_port and (pinfo.src_port == port or pinfo.dst_port == port) then
        is_source = pinfo.src_port == port
      end
    end
    conversation.server = is_source and source or destination
  end
  return conversation.server == source
end

-- The line without padding: what makes two requests the same.
local function essence(line)
  return line.padding and line.text:sub(1, line.padding.offset) or line.text .. " "
end

-- Returns what is known of a request; it takes its tag from an older request, if there is one.
local function note_request(conversation, line, pinfo)
  local exchange = { frame = pinfo.number, at = pinfo.rel_ts, essence = essence(line) }
  local facts = { exchange = exchange }
  local tag = line.tag and line.tag.text
  local older = tag and conversation.running[tag]
  if older and conversation.is_udp and older.essence == exchange.essence then
    if older.code ~= "too-large" then
      return { exchange = older, retransmission_of = older.frame }
    end
    facts.padded_from = older.frame
  elseif older then
    facts.tag_reused = older.frame
    exchange.older = older
    conversation.reused[tag] = conversation.reused[tag] or {}
    table.insert(conversation.reused[tag], exchange)
  end
  if tag then conversation.running[tag] = exchange end
  if line.malformed then table.insert(conversation.rejected, exchange) end
  return facts
end

-- Returns the first request that was refused its tag, and gives the tag back.
local function refused_tag(conversation, tag)
  local reused = conversation.reused[tag]
  local exchange = reused and table.remove(reused, 1)
  if not exchange then return nil end
  for _, later in ipairs(reused) do
    if later.older == exchange then later.older = exchange.older end
  end
  if conversation.running[tag] == exchange then conversation.running[tag] = exchange.older end
  return exchange
end

-- Returns the request that a notice ERR answers, if it can be known.
local function request_of_error(conversation, line)
  if line.code.text == "tag-in-use" then
    return line.args[1] and refused_tag(conversation, line.args[1].text)
  end
  while #conversation.rejected > 0 do
    local exchange = table.remove(conversation.rejected, 1)
    if not exchange.answer then return exchange end
  end
end

local function note_answer(conversation, line, pinfo)
  local tag = line.tag and line.tag.text
  local exchange
  if line.kind == "reply" then
    exchange = tag and conversation.running[tag]
  elseif line.code and not line.malformed then
    exchange = request_of_error(conversation, line)
  end
  if not exchange then return { unasked = line.kind == "reply" } end
  local facts = { exchange = exchange }
  if line.status and line.status.text == "DATA" then return facts end
  facts.repeated_reply = exchange.answer
  exchange.answer = exchange.answer or pinfo.number
  exchange.code = line.code and line.code.text
  if line.kind == "reply" then
    conversation.reused[tag] = nil
    exchange.older = nil
    if not conversation.is_udp then conversation.running[tag] = nil end
  end
  return facts
end

-- A line is known by its packet and its place there, which are the same each time that it is shown.
local function facts_about(line, key, pinfo, conversation)
  if not facts_of[key] and not pinfo.visited then
    local note = line.kind == "request" and note_request or note_answer
    facts_of[key] = note(conversation, line, pinfo)
  end
  return facts_of[key] or {}
end

-- ---- What is shown --------------------------------------------------------------

local function seconds(value)
  local whole = math.floor(value)
  return NSTime.new(whole, math.floor((value - whole) * 1e9 + 0.5))
end

local function add_links(item, line, facts, pinfo)
  local exchange = facts.exchange
  local function link(name, frame)
    if frame then item:add(fields[name], frame):set_generated() end
  end
  if exchange and line.kind == "request" then link("response_in", exchange.answer) end
  if exchange and line.kind ~= "request" then
    link("response_to", exchange.frame)
    local passed = pinfo.rel_ts - exchange.at
    if passed >= 0 then item:add(fields.time, seconds(passed)):set_generated() end
  end
  link("retransmission_of", facts.retransmission_of)
  link("padded_from", facts.padded_from)
  if facts.repeated_reply ~= pinfo.number then link("repeated_reply", facts.repeated_reply) end
end

local function add_expert_infos(item, line, facts, pinfo)
  local function tell(name, ...) item:add_proto_expert_info(experts[name], ...) end
  if line.malformed then tell("malformed", "Malformed line: " .. line.malformed) end
  if line.code and not line.malformed then tell("error", "Error: " .. line.code.text) end
  if line.notice and line.notice.text == "BYE" then tell("bye") end
  if facts.retransmission_of then tell("retransmission") end
  if facts.padded_from then tell("padded") end
  if facts.repeated_reply and facts.repeated_reply ~= pinfo.number then tell("replayed") end
  if facts.tag_reused then tell("tag_reused", "Tag in use since frame " .. facts.tag_reused) end
  if facts.unasked then tell("unasked") end
end

local function words(args, first)
  local texts = {}
  for index = first, #args do texts[#texts + 1] = decoded(args[index].text) end
  return table.concat(texts, " ")
end

-- What the arguments of some lines mean.
local function add_meaning(item, line)
  local first = line.args[1] and decoded(line.args[1].text)
  local verb, notice = line.verb and line.verb.text, line.notice and line.notice.text
  local status = line.status and line.status.text
  if first and (verb == "CALL" or verb == "LIST") then item:add(fields.service, first) end
  if verb == "HELLO" then
    for _, arg in ipairs(line.args) do item:add(fields.version, decoded(arg.text)) end
  elseif notice == VERSION_NOTICE then
    item:add(fields.version, notice)
    if first then item:add(fields.product, first) end
  elseif status == "OK" and first and first:find("^ESPS/%d+$") and line.args[2] then
    item:add(fields.version, first)
    item:add(fields.product, decoded(line.args[2].text))
  end
  if line.code then
    local machine = ({ ["too-large"] = 1, ["tag-in-use"] = 1 })[line.code.text] or 0
    local needed = line.code.text == "too-large" and first and first:match("^%d+$")
    if needed and #needed <= 9 then item:add(fields.needed, tonumber(needed)) end
    if #line.args > machine then item:add(fields.text, words(line.args, machine + 1)) end
  end
end

local function shortened(text)
  return #text <= SHOWN and text or text:sub(1, SHOWN) .. "..."
end

local function add_line(line, range, pinfo, tree, facts)
  local item = tree:add(esps, range)
  item:append_text((", %s: %s"):format(line.kind, printable(shortened(line.text))))
  local function token(name, found)
    if found then item:add(fields[name], range(found.offset, #found.text)) end
  end
  item:add(fields.kind, line.kind):set_generated()
  if line.malformed then
    item:add(fields.malformed, line.malformed):set_generated()
    token("tag", line.tag)
  else
    for _, name in ipairs({ "tag", "verb", "status", "notice", "code" }) do token(name, line[name]) end
    for _, arg in ipairs(line.args) do
      item:add(fields.arg, range(arg.offset, #arg.text), decoded(arg.text))
    end
    if line.padding then
      item:add(fields.padding, range(line.padding.offset, #line.padding.text), #line.padding.text)
    end
    add_meaning(item, line)
  end
  add_links(item, line, facts, pinfo)
  add_expert_infos(item, line, facts, pinfo)
  return item
end

-- Shows the line that a range holds, with its LF if there is one; returns it for the column.
local function dissect_line(range, bytes, where, pinfo, tree, wrong)
  local conversation = conversation_of(pinfo)
  local text = bytes:gsub("\n$", ""):gsub("\r$", "")
  local line = parse(text, from_server(conversation, pinfo, text))
  line.malformed = wrong or line.malformed
  local key = ("%d:%d:%s"):format(pinfo.port_type, pinfo.number, where)
  local item = add_line(line, range, pinfo, tree, facts_about(line, key, pinfo, conversation))
  if #bytes > MAX_LINE then item:add_proto_expert_info(experts.too_long) end
  if bytes:find("\r\n$") then item:add_proto_expert_info(experts.cr) end
  return (line.malformed and "[malformed] " or "") .. printable(shortened(text))
end

-- ---- Transports -----------------------------------------------------------------

local function show(pinfo, texts)
  if #texts == 0 then return end
  pinfo.cols.protocol = "ESPS"
  pinfo.cols.info:set(table.concat(texts, " | ") .. " ")
  pinfo.cols.info:fence() -- a segment may be handed over in two parts
end

local function dissect_segments(tvb, pinfo, tree)
  local bytes, offset, texts = tvb:raw(0, tvb:len()), 0, {}
  while offset < #bytes do
    local lf = bytes:find("\n", offset + 1, true)
    local wrong
    if not lf then
      if pinfo.can_desegment > 0 and #bytes - offset <= MAX_UNTERMINATED then
        pinfo.desegment_offset = offset
        pinfo.desegment_len = DESEGMENT_ONE_MORE_SEGMENT
        break
      end
      lf, wrong = #bytes, "no LF at the end"
    end
    if not bytes:find("^\r?\n", offset + 1) then
      local where = ("%d:%d"):format(tvb:offset(), offset)
      local piece = bytes:sub(offset + 1, lf)
      texts[#texts + 1] = dissect_line(tvb(offset, #piece), piece, where, pinfo, tree, wrong)
    end
    offset = lf
  end
  show(pinfo, texts)
end

local function dissect_datagram(tvb, pinfo, tree)
  local bytes, offset, texts = tvb:raw(0, tvb:len()), 0, {}
  local is_request = not from_server(conversation_of(pinfo), pinfo, bytes)
  while offset < #bytes do
    local lf = bytes:find("\n", offset + 1, true)
    local wrong = not lf and "no LF at the end" or nil
    -- A request is the whole datagram.
    if is_request and lf and lf < #bytes then wrong = "more than one line" end
    if is_request or not lf then lf = #bytes end
    local piece = bytes:sub(offset + 1, lf)
    texts[#texts + 1] = dissect_line(tvb(offset, #piece), piece, offset, pinfo, tree, wrong)
    offset = lf
  end
  show(pinfo, texts)
end

-- A TLS record. No line begins so; decrypted, its content comes back here.
local function is_tls(tvb)
  return tvb:raw(0, math.min(tvb:len(), 3)):find("^[\x14-\x17]\x03[\0-\4]") ~= nil
end

local function dissect_tls(tvb, pinfo, tree)
  -- Each layer may ask for the next segment only if the one below counts one more.
  if pinfo.can_desegment > 0 then pinfo.can_desegment = pinfo.can_desegment + 1 end
  local tls = Dissector.get("tls")
  if not pcall(tls.call, tls, tvb, pinfo, tree) then
    tree:add(esps, tvb()):add_proto_expert_info(experts.malformed, "Malformed TLS")
  end
end

function esps.dissector(tvb, pinfo, tree)
  if pinfo.port_type == UDP then
    dissect_datagram(tvb, pinfo, tree)
  elseif is_tls(tvb) then
    dissect_tls(tvb, pinfo, tree)
  else
    dissect_segments(tvb, pinfo, tree)
  end
end

-- ---- Other ports ----------------------------------------------------------------

local function is_greeting(bytes) return bytes:find("^%* ESPS/1 [A-Za-z0-9._+-]+/[A-Za-z0-9._+-]+[ \r\n]") end
local function is_hello(bytes)
  local tag = bytes:match("^(%S+) HELLO ESPS/%d+[ \r\n]")
  return tag and is_tag(tag)
end

-- A tag has 64 random bits over UDP, and 11 of 65 characters hold no fewer.
local function is_random_request(bytes)
  local text = bytes:match("^([^\n]+)\n$")
  local line = text and parse(text:gsub("\r$", ""), false)
  if not line or line.malformed or #line.tag.text < 11 then return false end
  return ({ HELLO = true, PING = true, LIST = true, CALL = true })[line.verb.text]
end

local function heuristic(accepts)
  return function(tvb, pinfo, tree)
    local bytes = tvb:raw(0, tvb:len())
    for _, is_ours in ipairs(accepts) do
      if is_ours(bytes) then
        pinfo.conversation = esps
        esps.dissector(tvb, pinfo, tree)
        return true
      end
    end
    return false
  end
end

esps:register_heuristic("tcp", heuristic({ is_greeting, is_hello }))
esps:register_heuristic("udp", heuristic({ is_hello, is_random_request }))
DissectorTable.get("tcp.port"):add(PORT, esps)
DissectorTable.get("udp.port"):add(PORT, esps)
DissectorTable.get("tls.port"):add(PORT, esps)
