-- Needs runs and trash.
-- ARGV: about how many run entries of removed tasks to sweep. Answer: 1 if entries may be left, else 0.
return sweep(tonumber(ARGV[4])) and 1 or 0
