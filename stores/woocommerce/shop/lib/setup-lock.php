<?php
/**
 * Serialize set-ups by a lock in the database, and record whether WordPress's installation
 * finished.
 */

declare(strict_types=1);

namespace Storefleet;

final class SetupLock {
	private const LOCK      = 'storefleet-setup';
	private const TABLE     = 'storefleet_setup';
	private const STARTED   = 'begun';
	private const INSTALLED = 'installed';
	/**
	 * The database may still start, the network may not be open yet, another set-up may be running.
	 */
	private const TIMEOUT_S = 120;

	private function __construct( private readonly Database $database ) {}

	/** Wait for the database and for another running set-up; throws DatabaseUnavailable. */
	public static function acquire( Configuration $store ): self {
		$database = Database::connect_with_retries( $store, self::TIMEOUT_S );
		if ( 1 !== $database->fetch_number( 'SELECT GET_LOCK(?, ?)', [ self::LOCK, self::TIMEOUT_S ] ) ) {
			throw new DatabaseUnavailable( 'Another set-up of this store is running and does not end.' );
		}
		return new self( $database );
	}

	public function release(): void {
		$this->database->execute( 'SELECT RELEASE_LOCK(?)', [ self::LOCK ] );
	}

	/** Report whether this process still holds the lock; a restart of the database releases it. */
	public function is_held(): bool {
		try {
			return 1 === $this->database->fetch_number(
				'SELECT IS_USED_LOCK(?) = CONNECTION_ID()', [ self::LOCK ]
			);
		} catch ( DatabaseUnavailable ) {
			return false;
		}
	}

	public function is_installed(): bool {
		return self::INSTALLED === $this->read_state();
	}

	/** Drop the tables of a killed installation; throws PermanentError if the tables are not ours. */
	public function start_installation(): void {
		$tables = $this->database->list_tables();
		if ( [] !== $tables && ! in_array( self::TABLE, $tables, true ) ) {
			throw new PermanentError(
				'The database contains tables that this store did not create. Give the store an empty database.'
			);
		}
		$this->database->execute(
			'CREATE TABLE IF NOT EXISTS ' . self::TABLE
			. ' (id TINYINT PRIMARY KEY, state VARCHAR(20) NOT NULL) ENGINE=InnoDB'
		);
		$this->write_state( self::STARTED );
		$this->database->execute( 'SET FOREIGN_KEY_CHECKS = 0' );
		foreach ( array_diff( $tables, [ self::TABLE ] ) as $table ) {
			$this->database->execute( 'DROP TABLE ' . Database::quote_name( $table ) );
		}
	}

	public function mark_installed(): void {
		$this->write_state( self::INSTALLED );
	}

	private function write_state( string $state ): void {
		$this->database->execute( 'REPLACE INTO ' . self::TABLE . ' (id, state) VALUES (1, ?)', [ $state ] );
	}

	private function read_state(): ?string {
		if ( ! in_array( self::TABLE, $this->database->list_tables(), true ) ) {
			return null;
		}
		$rows = $this->database->fetch_rows( 'SELECT state FROM ' . self::TABLE . ' WHERE id = 1' );
		return $rows[0]['state'] ?? null;
	}
}
