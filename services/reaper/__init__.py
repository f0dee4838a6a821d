"""The reaper: deletes stores, redispatches due operations, deletes old rows and calls cron URLs."""
