<?php
/** What a set-up may change: everything in a new store, the tables only in a store that has an owner. */

declare(strict_types=1);

namespace Storefleet;

enum SetupMode: string {
	/** The creation of a store and its retries. */
	case Install = 'install';
	/** An upgrade or a rollback: the database is migrated, and everything that an owner can set is kept. */
	case Update = 'update';

	/** Read the mode that the platform passes; without one, the store is treated as its owner's. */
	public static function read(): self {
		return self::tryFrom( (string) getenv( 'STORE_SETUP_MODE' ) ) ?? self::Update;
	}
}
