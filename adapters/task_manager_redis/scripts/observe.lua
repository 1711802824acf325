-- Answer: now, the earliest due instant of all tasks ('' for none), progress, holder and token of the live term (both ''
-- for none), milliseconds until its lease ends.
local term = redis.call('HMGET', term_key, 'holder', 'token', 'until', 'progress')
local left = term[1] and (integer(term[3]) or 0) - steady(math.huge) or 0
local due = first_due()
return {
  now, due and string.format('%.0f', due) or '', integer(term[4]) or 0, left > 0 and term[1] or '',
  left > 0 and term[2] or '', math.max(left, 0),
}
