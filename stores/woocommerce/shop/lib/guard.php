<?php
/** One set-up at a time, and how far it got: a lock and a row in the database, which no kill can leave half done. */

declare(strict_types=1);

namespace Storefleet;

final class Guard {
	private const LOCK      = 'storefleet-setup';
	private const TABLE     = 'storefleet_setup';
	private const BEGUN     = 'begun';
	private const INSTALLED = 'installed';
	/** A database that has just been made, a network that is not open yet, a set-up that is under way. */
	private const PATIENCE = 120;

	private function __construct( private readonly Database $database ) {}

	/** Wait for the database and for whoever else is at work; throws Away. */
	public static function hold( Configuration $store ): self {
		$database = Database::wait_for( $store, self::PATIENCE );
		if ( 1 !== $database->number( 'SELECT GET_LOCK(?, ?)', [ self::LOCK, self::PATIENCE ] ) ) {
			throw new Away( 'another set-up of this store is under way and does not end' );
		}
		return new self( $database );
	}

	public function let_go(): void {
		$this->database->run( 'SELECT RELEASE_LOCK(?)', [ self::LOCK ] );
	}

	public function is_installed(): bool {
		return self::INSTALLED === $this->state();
	}

	/** Take away what a killed installation left; throws Mistake when the tables are somebody else's. */
	public function begin(): void {
		$tables = $this->database->tables();
		if ( [] !== $tables && ! in_array( self::TABLE, $tables, true ) ) {
			throw new Mistake( 'The database holds tables that are not of a shop of ours: give the store an empty one.' );
		}
		$this->database->run( 'CREATE TABLE IF NOT EXISTS ' . self::TABLE . ' (id TINYINT PRIMARY KEY, state VARCHAR(20) NOT NULL) ENGINE=InnoDB' );
		$this->mark( self::BEGUN );
		$this->database->run( 'SET FOREIGN_KEY_CHECKS = 0' );
		foreach ( array_diff( $tables, [ self::TABLE ] ) as $table ) {
			$this->database->run( 'DROP TABLE ' . Database::quoted( $table ) );
		}
	}

	public function installed(): void {
		$this->mark( self::INSTALLED );
	}

	private function mark( string $state ): void {
		$this->database->run( 'REPLACE INTO ' . self::TABLE . ' (id, state) VALUES (1, ?)', [ $state ] );
	}

	private function state(): ?string {
		if ( ! in_array( self::TABLE, $this->database->tables(), true ) ) {
			return null;
		}
		return $this->database->rows( 'SELECT state FROM ' . self::TABLE . ' WHERE id = 1' )[0]['state'] ?? null;
	}
}
