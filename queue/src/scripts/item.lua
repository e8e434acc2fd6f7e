-- Which job id an item of the list means: the pickle of one short text, of any protocol and Python, a JSON string, or the
-- bare id. Never a general unpickler. The same as item.rs, which is tested against it.

local MAX_ID_BYTES = 512
-- No item of an id is longer: ten bytes for each of the id's where a pickle of protocol 0 writes them as \UXXXXXXXX, and some.
-- A longer one is not looked into, which would take time.
local MAX_ITEM_BYTES = 10 * MAX_ID_BYTES + 32

-- Whether all of it is printable ASCII. Many times faster than a pattern.
local function is_plain(text)
  local byte = string.byte
  return math.min(byte(text, 1, -1)) >= 32 and math.max(byte(text, 1, -1)) < 127
end

-- Makes what reads the items of other shapes than ours. Not before there is one: functions take time to make.
local function other_reader()
  local function is_utf8(text)
    local i, n = 1, #text
    while i <= n do
      local a, b = string.byte(text, i, i + 1)
      local length
      if a < 0x80 then
        length = 1
      elseif a >= 0xc2 and a < 0xe0 then
        length = 2
      elseif a >= 0xe0 and a < 0xf0 then
        length = 3
        -- overlong forms, and the halves of surrogate pairs
        if b and ((a == 0xe0 and b < 0xa0) or (a == 0xed and b > 0x9f)) then return false end
      elseif a >= 0xf0 and a < 0xf5 then
        length = 4
        if b and ((a == 0xf0 and b < 0x90) or (a == 0xf4 and b > 0x8f)) then return false end
      else
        return false
      end
      for j = i + 1, i + length - 1 do
        local c = string.byte(text, j)
        if not c or c < 0x80 or c > 0xbf then return false end
      end
      i = i + length
    end
    return true
  end

  local function as_id(text)
    if #text == 0 or #text > MAX_ID_BYTES then return nil end
    if is_plain(text) then return text end
    if string.find(text, '[%z\1-\31\127]') or not is_utf8(text) then return nil end
    return text
  end

  local function as_utf8(code)
    local char, floor = string.char, math.floor
    if code < 0x80 then return char(code) end
    if code < 0x800 then return char(0xc0 + floor(code / 64), 0x80 + code % 64) end
    if code < 0x10000 then
      return char(0xe0 + floor(code / 4096), 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
    end
    if code > 0x10ffff then return '\255' end
    return char(0xf0 + floor(code / 262144), 0x80 + floor(code / 4096) % 64, 0x80 + floor(code / 64) % 64,
      0x80 + code % 64)
  end

  -- 'S': the repr() of a Python 2 str. Of its escapes only those that an id can hold.
  local function from_repr(line)
    local quote = string.sub(line, 1, 1)
    if #line < 2 or (quote ~= "'" and quote ~= '"') or string.sub(line, -1) ~= quote then return nil end
    local body, out, i = string.sub(line, 2, -2), {}, 1
    while i <= #body do
      local char = string.sub(body, i, i)
      if char == quote then return nil end
      if char ~= '\\' then
        out[#out + 1], i = char, i + 1
      else
        local escaped = string.sub(body, i + 1, i + 1)
        local hex = string.match(body, '^x(%x%x)', i + 1)
        if hex then
          out[#out + 1], i = string.char(tonumber(hex, 16)), i + 4
        elseif escaped == '\\' or escaped == "'" or escaped == '"' then
          out[#out + 1], i = escaped, i + 2
        else
          return nil
        end
      end
    end
    return table.concat(out)
  end

  -- 'V': raw-unicode-escape, which is Latin-1 with \uXXXX and \UXXXXXXXX.
  local function from_raw_unicode(line)
    local out, i = {}, 1
    while i <= #line do
      local byte = string.byte(line, i)
      if byte ~= 0x5c then
        out[#out + 1], i = as_utf8(byte), i + 1
      else
        local short = string.match(line, '^u(%x%x%x%x)', i + 1)
        local long = string.match(line, '^U(%x%x%x%x%x%x%x%x)', i + 1)
        if short then
          out[#out + 1], i = as_utf8(tonumber(short, 16)), i + 6
        elseif long then
          out[#out + 1], i = as_utf8(tonumber(long, 16)), i + 10
        else
          return nil
        end
      end
    end
    return table.concat(out)
  end

  -- Protocol 0: a line, perhaps remembered ("p0"), and the end.
  local function from_text_pickle(raw)
    local op, line, rest = string.match(raw, '^([SV])([^\n]*)\n(.*)$')
    if not op or not (rest == '.' or string.find(rest, '^p%d+\n%.$')) then return nil end
    if op == 'S' then return from_repr(line) end
    return from_raw_unicode(line)
  end

  -- JSON: a text in quotes. What is no JSON is a bare id that begins with a quote.
  local function from_json(raw)
    if not string.find(raw, '^".*"$') or #raw < 2 then return nil end
    local body = string.sub(raw, 2, -2)
    if string.find(body, '[%z\1-\31]') or not is_utf8(body) then return nil end
    if not string.find(body, '[\\"]') then return body end
    local simple = { ['"'] = '"', ['\\'] = '\\', ['/'] = '/', b = '\b', f = '\f', n = '\n', r = '\r', t = '\t' }
    local out, i = {}, 1
    while i <= #body do
      local char, escaped = string.sub(body, i, i), string.sub(body, i + 1, i + 1)
      if char == '"' then return nil end
      if char ~= '\\' then
        out[#out + 1], i = char, i + 1
      elseif simple[escaped] then
        out[#out + 1], i = simple[escaped], i + 2
      else
        local hex = string.match(body, '^u(%x%x%x%x)', i + 1)
        local code = hex and tonumber(hex, 16)
        if not code or (code >= 0xdc00 and code <= 0xdfff) then return nil end
        i = i + 6
        if code >= 0xd800 and code <= 0xdbff then
          local low = string.match(body, '^\\u([dD][c-fC-F]%x%x)', i)
          if not low then return nil end
          code, i = 0x10000 + (code - 0xd800) * 1024 + tonumber(low, 16) - 0xdc00, i + 6
        end
        out[#out + 1] = as_utf8(code)
      end
    end
    return table.concat(out)
  end

  -- Protocols 1 to 5 from `at` on: a text with its length before it, perhaps remembered, and the end.
  local function from_binary_pickle(raw, at)
    local op, length, start = string.sub(raw, at, at), nil, nil
    if (op == 'X' or op == 'T') and #raw >= at + 4 then
      length, start = struct.unpack('<I4', raw, at + 1), at + 5
    elseif (op == 'U' or op == '\140') and #raw >= at + 1 then
      length, start = string.byte(raw, at + 1), at + 2
    else
      return nil
    end
    if start + length > #raw then return nil end
    local rest = string.sub(raw, start + length)
    local memo = string.sub(rest, 1, 1)
    local ends_well = rest == '.' or rest == '\148.' or (memo == 'q' and #rest == 3) or (memo == 'r' and #rest == 6)
    if not ends_well or string.sub(rest, -1) ~= '.' then return nil end
    return string.sub(raw, start, start + length - 1)
  end

  return function(raw)
    if #raw > MAX_ITEM_BYTES then return nil end
    if string.byte(raw, 1) == 0x80 then
      local protocol = string.byte(raw, 2)
      if not protocol or protocol < 2 or protocol > 5 then return nil end
      -- A frame is its opcode and eight bytes of length.
      local at = string.byte(raw, 3) == 0x95 and 12 or 3
      local text = from_binary_pickle(raw, at)
      return text and as_id(text)
    end
    local text = from_text_pickle(raw) or from_binary_pickle(raw, 1) or from_json(raw)
    return as_id(text or raw)
  end
end

-- How an item begins and ends that we write for a job of ours, whose id is a uuid.
local OUR_HEAD, OUR_TAIL, OUR_LENGTH = '\128\2X\36\0\0\0', 'q\0.', 46

-- The id, and whether the item is one that we would write: nearly all are.
local read_other
local function id_of(raw)
  local sub = string.sub
  if #raw == OUR_LENGTH and sub(raw, 1, 7) == OUR_HEAD and sub(raw, -3) == OUR_TAIL then
    local id = sub(raw, 8, -4)
    if is_plain(id) then return id, true end
  end
  read_other = read_other or other_reader()
  return read_other(raw)
end
