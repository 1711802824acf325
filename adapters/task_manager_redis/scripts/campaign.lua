-- Needs leadership.
-- ARGV: candidate, length of the lease. Answer: holder, token, milliseconds until the lease ends.
return campaign(ARGV[4], ARGV[5])
