-- The items by which any Python may have put a job on the list: what id_of (item.lua) reads, the other way
-- round, the likely ones first, and of JSON those of `json.dumps` with and without `ensure_ascii`. The memo's number is 0 of Python 3, 1 of Python 2's cPickle.

-- As `json.dumps` writes what is not ASCII: each UTF-16 unit as \uXXXX. `text` is UTF-8.
local function to_ascii(text)
  local function escape(char)
    local a, b, c, d = string.byte(char, 1, 4)
    if not c then return string.format('\\u%04x', (a - 0xc0) * 64 + b - 0x80) end
    if not d then return string.format('\\u%04x', ((a - 0xe0) * 64 + b - 0x80) * 64 + c - 0x80) end
    local beyond = (((a - 0xf0) * 64 + b - 0x80) * 64 + c - 0x80) * 64 + d - 0x80 - 0x10000
    return string.format('\\u%04x\\u%04x', 0xd800 + math.floor(beyond / 1024), 0xdc00 + beyond % 1024)
  end
  return (string.gsub(text, '[\194-\244][\128-\191]+', escape))
end

local function shapes_of(id, record)
  local length = struct.pack('<I4', #id)
  local long, shapes = 'X' .. length .. id, { item_for(id, record), canonical(id), id }
  local function add(shape) shapes[#shapes + 1] = shape end
  local body = #id < 256 and '\140' .. string.char(#id) .. id .. '\148.' or long .. '\148.'
  local frame = '\149' .. struct.pack('<I4', #body) .. '\0\0\0\0' .. body
  add('\128\4' .. frame)
  add('\128\5' .. frame)
  add('\128\3' .. long .. 'q\0.')
  add(long .. 'q\0.')
  local json = '"' .. string.gsub(id, '[\\"]', '\\%0') .. '"'
  add(json)
  local ascii = to_ascii(json)
  if ascii ~= json then add(ascii) end
  local plain = not string.find(id, "[\\'\128-\255]")
  if plain then
    add('V' .. id .. '\np0\n.')
    add("S'" .. id .. "'\np1\n.")
    add("S'" .. id .. "'\np0\n.")
  end
  if #id < 256 then
    local short = 'U' .. string.char(#id) .. id
    for _, start in ipairs({ '', '\128\2' }) do
      add(start .. short .. 'q\0.')
      add(start .. short .. 'q\1.')
    end
  end
  return shapes
end
