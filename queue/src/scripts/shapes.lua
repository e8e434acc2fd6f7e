-- The items by which any Python may have put a job on the list: what id_of (item.lua) reads, the other way
-- round, the likely ones first. The memo's number is 0 of Python 3, 1 of Python 2's cPickle.

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
