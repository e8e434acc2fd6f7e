-- {content type, length, the first 4 KiB} of a result; nil for one that cannot be read, as if the job had given nothing.
local function head_of(packed)
  local head = packed and unpacked(packed) or {}
  if type(head[1]) == 'string' and type(head[2]) == 'number' and type(head[3]) == 'string' then
    return { head[1], head[2], head[3] }
  end
end
