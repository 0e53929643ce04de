-- It came this far: the server is a primary and shows its run_id.
return answer('here')
