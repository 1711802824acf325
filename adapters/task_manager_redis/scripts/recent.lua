-- ARGV: most lines of a task, tasks.
-- Answer: for each task its newest lines; an empty text if the task does not exist.
-- A line is cut where its long parts begin. The quotes of a text are escaped inside a text, so these beginnings stand
-- nowhere else. The lines of earlier releases are objects and stay whole.
local function outline(line)
  if string.sub(line, 1, 1) ~= '[' then
    return line
  end
  local message = string.find(line, ',"message":"', 1, true)
  if message then
    return string.sub(line, 1, message - 1) .. ',"message":"","traceback":""}]'
  end
  local result = string.find(line, ',null,{"type":', 1, true)
  return result and string.sub(line, 1, result - 1) .. ']' or line
end

local found = {}
for i = 5, #ARGV do
  local task = ARGV[i]
  if redis.call('HEXISTS', root .. ':task:' .. task, 'version') == 0 then
    found[#found + 1] = ''
  else
    local lines = tonumber(ARGV[4]) > 0 and redis.call('LRANGE', root .. ':attempts:' .. task, 0, ARGV[4] - 1) or {}
    for j, line in ipairs(lines) do
      lines[j] = outline(line)
    end
    found[#found + 1] = lines
  end
end
return found
