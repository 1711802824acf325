-- Create the group where it is missing although its stream is there: somebody destroyed it by hand.
for _, priority in ipairs(PRIORITIES) do
  redis.pcall('XGROUP', 'CREATE', streams[priority], GROUP, '0', 'MKSTREAM')
end
return 1
