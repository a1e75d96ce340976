"""
Prefetch queues in a Redis: what is done there, and how a job is written down.

A node's queue takes three keys. A hash has a JSON document for each job, and in its field ``:place`` the last place
given. One sorted set has the ids of those that are queued, in their order; another one those of the running, by the
end of their lease. Each script changes all three at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson
from attrs import asdict

from glance_cache.jobs import Job, JobState

__all__ = ["ADD_JOBS", "CLAIM_JOB", "CLEAR_JOBS", "LIST_JOBS", "REMOVE_JOB", "UPDATE_JOB", "job_text", "read_jobs"]

# What every script begins with. KEYS: the documents, the queued, the running. A document that nobody here wrote counts
# as none. The score is exact: 2^40 places for each of 201 priorities are fewer than 2^53.
_COMMON: Final = """
local docs, queued, running = KEYS[1], KEYS[2], KEYS[3]
local function get(id)
  local ok, job = pcall(cjson.decode, redis.call('HGET', docs, id) or '')
  if ok and type(job) == 'table' and job.place then return job end
end
local function put(id, job) redis.call('HSET', docs, id, cjson.encode(job)) end
local function wait(id, job)
  redis.call('ZREM', running, id)
  redis.call('ZADD', queued, string.format('%.0f', job.place - job.priority * 2^40), id)
end
"""

ADD_JOBS: Final = (
    _COMMON
    + """
local priority, at, new = tonumber(ARGV[1]), tonumber(ARGV[2]), 0
for i = 3, #ARGV do
  local id = ARGV[i]
  local job = get(id)
  if job and job.state ~= 'failed' then
    job.priority, job.not_before = math.max(job.priority, priority), 0
    put(id, job)
    if job.state == 'queued' then wait(id, job) end
  else
    new = new + 1
    job = {priority = priority, queued_at = at, state = 'queued', place = redis.call('HINCRBY', docs, ':place', 1)}
    put(id, job)
    wait(id, job)
  end
end
return new
"""
)
"""ARGV: priority, now, image ids."""

CLAIM_JOB: Final = (
    _COMMON
    + """
local worker, now, lease = ARGV[1], tonumber(ARGV[2]), ARGV[3]
for _, id in ipairs(redis.call('ZRANGEBYSCORE', running, '-inf', ARGV[2])) do
  local job = get(id)
  if job then wait(id, job) else redis.call('ZREM', running, id) end
end
if redis.call('ZCARD', running) >= tonumber(ARGV[4]) then return '' end
local start = 0
while true do
  local ids = redis.call('ZRANGE', queued, start, start + 99)
  if #ids == 0 then return '' end
  for _, id in ipairs(ids) do
    local job = get(id)
    if job and (job.state == 'running' or (job.not_before or 0) <= now) then
      job.state, job.worker, job.started_at, job.reported_at, job.fetched_bytes = 'running', worker, now, now, 0
      job.lease_until = tonumber(lease)
      job.fence, job.attempts = (job.fence or 0) + 1, (job.attempts or 0) + 1
      put(id, job)
      redis.call('ZREM', queued, id)
      redis.call('ZADD', running, lease, id)
      return cjson.encode({id, cjson.encode(job)})
    end
  end
  start = start + 100
end
"""
)
"""ARGV: worker, now, end of the lease, how many may run. Answers with an array of image id and document, or nothing."""

UPDATE_JOB: Final = (
    _COMMON
    + """
local id, job, told = ARGV[1], get(ARGV[1]), cjson.decode(ARGV[2])
if not job or job.state ~= 'running' or job.place ~= told.place or job.fence ~= told.fence then return 0 end
told.priority, told.queued_at, told.worker = job.priority, job.queued_at, job.worker
put(id, told)
redis.call('ZREM', running, id)
redis.call('ZREM', queued, id)
if told.state == 'running' then redis.call('ZADD', running, ARGV[3], id) end
if told.state == 'queued' then wait(id, told) end
return 1
"""
)
"""ARGV: image id, document, end of the lease."""

REMOVE_JOB: Final = (
    _COMMON
    + """
local id = ARGV[1]
if ARGV[2] ~= '' then
  local job = get(id)
  if not job or job.state ~= 'running' or job.place .. ':' .. (job.fence or 0) ~= ARGV[2] then return 0 end
end
redis.call('ZREM', queued, id)
redis.call('ZREM', running, id)
return redis.call('HDEL', docs, id)
"""
)
"""ARGV: image id; place and fence of the claim with a colon between them, or nothing."""

CLEAR_JOBS: Final = """
local place = redis.call('HGET', KEYS[1], ':place')
local count = redis.call('HLEN', KEYS[1])
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
if not place then return count end
redis.call('HSET', KEYS[1], ':place', place)
return count - 1
"""

LIST_JOBS: Final = "return cjson.encode(redis.call('HGETALL', KEYS[1]))"
"""Answers with an array of field and value in turn."""


def job_text(job: Job) -> str:
    """
    Write a job down.
    """
    return orjson.dumps(asdict(job, filter=lambda field, _: field.name != "image_id")).decode()


def read_jobs(flat: Sequence[str]) -> Sequence[Job]:
    """
    Read jobs that are written down, each one after its image id. What is no job is passed over.

    :return: In their order.
    """
    return sorted(_jobs(zip(flat[::2], flat[1::2], strict=True)), key=lambda job: job.order)


def _jobs(pairs: Iterable[tuple[str, str]]) -> Iterable[Job]:
    for image_id, text in pairs:
        if image_id == ":place":
            continue
        try:
            values: dict[str, Any] = orjson.loads(text)
            yield Job(**{**values, "image_id": image_id, "state": JobState(values["state"])})
        except (ValueError, TypeError, KeyError):
            continue
