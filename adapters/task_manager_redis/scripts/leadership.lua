-- What the verbs of leadership share. The hash of the term keeps the last token and the progress when a lease has ended:
-- the next token must be greater.

-- The answer of a campaign that grants a term.
local function grant(candidate, lease)
  allow_oom()
  -- The token is never below the server's time, so that a wiped store does not give a token twice.
  local last = integer(redis.call('HGET', term_key, 'token')) or 0
  local token = string.format('%.0f', math.max(last + 1, steady()))
  redis.call('HSET', term_key, 'holder', candidate, 'token', token, 'until', steady() + lease)
  return { candidate, token, tonumber(lease) }
end

local function campaign(candidate, lease)
  local term = redis.call('HMGET', term_key, 'holder', 'token', 'until')
  if term[1] and steady() < (integer(term[3]) or 0) then
    return { term[1], term[2], term[3] - steady() }
  end
  return grant(candidate, lease)
end
