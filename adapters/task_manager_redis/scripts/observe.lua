-- Answer: now, the earliest due instant of all tasks ('' for none), progress, holder and token of the live term (both ''
-- for none).
local term = redis.call('HMGET', term_key, 'holder', 'token', 'until', 'progress')
local lives = term[1] and steady(math.huge) < (integer(term[3]) or 0)
local due = first_due()
return {
  now, due and string.format('%.0f', due) or '', integer(term[4]) or 0, lives and term[1] or '', lives and term[2] or '',
}
