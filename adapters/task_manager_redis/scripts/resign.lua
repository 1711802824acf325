-- ARGV: holder, token. Answer: 1 if ended now. The token stays, because the next one must exceed it.
if not reigns(ARGV[4], ARGV[5]) then
  return 0
end
despite_full_memory()
redis.call('HSET', reign, 'until', steady())
ring()
return 1
