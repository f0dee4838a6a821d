<?php
/**
 * Access to the store's database without WordPress, for programs that cannot or must not load it.
 */

declare(strict_types=1);

namespace Storefleet;

/** The database does not answer or rejects a statement; a retry may succeed. */
final class DatabaseUnavailable extends \RuntimeException {}

final class Database {
	private function __construct( private readonly \mysqli $link, public readonly string $name ) {}

	/** Connect once, within a time limit; throws DatabaseUnavailable. */
	public static function connect( Configuration $store, int $timeout_s = 5 ): self {
		[ $host, $socket ] = array_pad( explode( ':', $store->get_text( 'database.host' ), 2 ), 2, null );
		mysqli_report( MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT );
		$name = $store->get_text( 'database.name' );
		$link = mysqli_init();
		$link->options( MYSQLI_OPT_CONNECT_TIMEOUT, $timeout_s );
		try {
			$user     = $store->get_text( 'database.user' );
			$password = $store->read_secret( 'database.password_file' );
			$link->real_connect( $host, $user, $password, $name, 3306, $socket );
			$link->set_charset( 'utf8mb4' );
		} catch ( \mysqli_sql_exception $error ) {
			throw new DatabaseUnavailable(
				"The database does not accept a connection: {$error->getMessage()}"
			);
		}
		return new self( $link, $name );
	}

	/** Connect, retrying until the time limit; throws DatabaseUnavailable. */
	public static function connect_with_retries( Configuration $store, int $timeout_s ): self {
		$deadline = microtime( true ) + $timeout_s;
		while ( true ) {
			try {
				return self::connect( $store, 2 );
			} catch ( DatabaseUnavailable $error ) {
				if ( microtime( true ) > $deadline ) {
					throw $error;
				}
				usleep( 100_000 );
			}
		}
	}

	/** @param list<string|int> $values */
	public function execute( string $statement, array $values = [] ): void {
		$this->fetch_rows( $statement, $values );
	}

	/**
	 * @param list<string|int> $values
	 * @return list<array<string, mixed>>
	 */
	public function fetch_rows( string $statement, array $values = [] ): array {
		try {
			$result = $this->link->execute_query( $statement, $values );
		} catch ( \mysqli_sql_exception $error ) {
			throw new DatabaseUnavailable( "The database rejects a statement: {$error->getMessage()}" );
		}
		return $result instanceof \mysqli_result ? $result->fetch_all( MYSQLI_ASSOC ) : [];
	}

	/** @param list<string|int> $values */
	public function fetch_number( string $statement, array $values = [] ): int {
		$row = $this->fetch_rows( $statement, $values )[0] ?? [ 0 ];
		return (int) reset( $row );
	}

	/** @return list<string> */
	public function list_tables( ?string $schema = null ): array {
		$rows = $this->fetch_rows(
			"SELECT TABLE_NAME AS name FROM information_schema.TABLES
			  WHERE TABLE_SCHEMA = ? AND TABLE_TYPE = 'BASE TABLE'",
			[ $schema ?? $this->name ]
		);
		return array_column( $rows, 'name' );
	}

	public static function quote_name( string $name ): string {
		return '`' . str_replace( '`', '``', $name ) . '`';
	}
}
