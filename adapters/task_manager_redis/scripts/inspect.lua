-- Answer: what the server says of itself. An account that may not ask is no reason to refuse it.
local answer = ''
for _, section in ipairs({ 'server', 'memory' }) do
  local info = redis.pcall('INFO', section)
  answer = answer .. (type(info) == 'string' and info or '')
end
return answer
