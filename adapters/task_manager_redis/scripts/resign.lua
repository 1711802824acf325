-- ARGV: holder, token. Answer: 1 if this ended the term, 0 if it was over. The token is kept: the next one must be
-- greater.
if not is_current_term(ARGV[4], ARGV[5]) then
  return 0
end
allow_oom()
redis.call('HSET', term_key, 'until', steady())
notify()
return 1
