-- ARGV: holder, token, lease. Answer: 1 if extended.
if not reigns(ARGV[4], ARGV[5]) then
  return 0
end
despite_full_memory()
redis.call('HSET', reign, 'until', steady() + ARGV[6])
return 1
