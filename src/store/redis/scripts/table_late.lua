-- ARGV: a version, and whether those who are late are waited for no longer. Answers who does not go by it yet.
local wanted, forget = tonumber(ARGV[1]), ARGV[2] == '1'
-- Every hublatch tells once a second that it is there.
local ALIVE = 3000
local reply = { 'late', version }
local all = redis.call('HGETALL', REPLICAS)
for at = 1, #all, 2 do
  local known, said = string.match(all[at + 1], '^(%S+) (%d+)$')
  if tonumber(known) < wanted then
    if forget or NOW - tonumber(said) > ALIVE then
      redis.call('HDEL', REPLICAS, all[at])
    end
    if NOW - tonumber(said) <= ALIVE then reply[#reply + 1] = all[at] end
  end
end
return reply
