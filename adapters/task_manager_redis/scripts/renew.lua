-- ARGV: holder, token, length of the lease. Answer: 1 if the lease was extended, 0 if the term is over.
if not is_current_term(ARGV[4], ARGV[5]) then
  return 0
end
call_even_if_full('HSET', term_key, 'until', steady() + ARGV[6])
return 1
