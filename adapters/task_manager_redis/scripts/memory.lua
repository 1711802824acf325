-- ARGV: task. Answer: the text of the last success, the cursor; empty if there is none.
local memory = redis.call('HMGET', root .. ':memory:' .. ARGV[4], 'success', 'cursor')
return { memory[1] or '', memory[2] or '' }
