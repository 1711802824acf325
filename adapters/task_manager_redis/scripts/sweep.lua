-- Needs runs and trash.
-- ARGV: how many places of removed runs to sweep. Answer: 1 if something may be left, else 0.
return sweep(tonumber(ARGV[4])) and 1 or 0
