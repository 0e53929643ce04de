-- ARGV: a version, and whether those who are late are waited for no longer. Answers who does not go by it yet.
local wanted_epoch, wanted = parse(ARGV[1])
local forget = ARGV[2] == '1'
-- Every hublatch tells once a second that it is there.
local ALIVE = 3000
local reply = { 'late', present() }
local all = redis.call('HGETALL', REPLICAS)
for at = 1, #all, 2 do
  local known, said = string.match(all[at + 1], '^(%S+) (%d+)$')
  local known_epoch, number = parse(known)
  -- One whose version cannot be read is late until it has gone.
  if not number or is_earlier(known_epoch, number, wanted_epoch, wanted) then
    if forget or NOW - tonumber(said) > ALIVE then
      redis.call('HDEL', REPLICAS, all[at])
    end
    if NOW - tonumber(said) <= ALIVE then reply[#reply + 1] = all[at] end
  end
end
return reply
