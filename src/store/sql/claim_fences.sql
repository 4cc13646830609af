-- Claims moves that wait for their fence, so that one replica publishes it. Where the step before never
-- ended, a binding may be left to the old queue, and its commands are refused there with an advice to send
-- them again.
-- $1 seconds after which a step has lost its operator, $2 seconds after which a fence is published again
update moves set fenced_at = clock_timestamp()
where server_id in (
    select server_id from moves
    where (phase = 'fencing' or phase = 'unbinding'
               and (phase_at < clock_timestamp() - make_interval(secs => $1::double precision)
                    or phase_at > clock_timestamp() + make_interval(secs => $1::double precision)))
      and (fenced_at is null or fenced_at < clock_timestamp() - make_interval(secs => $2::double precision)
           or fenced_at > clock_timestamp()) -- the clock was set back
    for update skip locked)
returning server_id, from_partition, fence
