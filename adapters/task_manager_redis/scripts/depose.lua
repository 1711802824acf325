-- Needs leadership.
-- ARGV: candidate, length of the lease; holder, token and progress that the candidate saw (holder and token are empty
-- if it saw no live term). Answer: holder, token, milliseconds until the lease ends.
local candidate, lease, holder, token, progress = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local due = first_due()
if due and due <= now and holder ~= candidate and is_current_term(holder, token)
  and (integer(redis.call('HGET', term_key, 'progress')) or 0) == tonumber(progress) then
  local answer = grant(candidate, lease)
  notify()
  return answer
end
return campaign(candidate, lease)
