-- Every session that was ended and is still remembered.
local reply = { 'sessions', live(), SINCE, NOW }
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'x', '(' .. NOW, '+inf')) do
  reply[#reply + 1] = id
end
return reply
