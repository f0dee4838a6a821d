<?php
/** The shop's database without WordPress: for the programs that run before it, beside it or instead of it. */

declare(strict_types=1);

namespace Storefleet;

/** The database does not answer, or not as it should; another try may help. */
final class Away extends \RuntimeException {}

final class Database {
	private function __construct( private readonly \mysqli $link, public readonly string $name ) {}

	/** A connection, or Away after one try that took at most so many seconds. */
	public static function of( Configuration $store, int $seconds = 5 ): self {
		[ $host, $socket ] = array_pad( explode( ':', $store->text( 'database.host' ), 2 ), 2, null );
		mysqli_report( MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT );
		$name = $store->text( 'database.name' );
		$link = mysqli_init();
		$link->options( MYSQLI_OPT_CONNECT_TIMEOUT, $seconds );
		try {
			$link->real_connect( $host, $store->text( 'database.user' ), $store->secret( 'database.password_file' ), $name, 3306, $socket );
			$link->set_charset( 'utf8mb4' );
		} catch ( \mysqli_sql_exception $error ) {
			throw new Away( "The database does not take a connection: {$error->getMessage()}" );
		}
		return new self( $link, $name );
	}

	/** A connection as soon as there is one; throws Away when there is none for so many seconds. */
	public static function wait_for( Configuration $store, int $seconds ): self {
		$until = microtime( true ) + $seconds;
		while ( true ) {
			try {
				return self::of( $store, 2 );
			} catch ( Away $away ) {
				if ( microtime( true ) > $until ) {
					throw $away;
				}
				usleep( 100_000 );
			}
		}
	}

	/** @param list<string|int> $values */
	public function run( string $statement, array $values = [] ): void {
		$this->rows( $statement, $values );
	}

	/**
	 * @param list<string|int> $values
	 * @return list<array<string, mixed>>
	 */
	public function rows( string $statement, array $values = [] ): array {
		try {
			$result = $this->link->execute_query( $statement, $values );
		} catch ( \mysqli_sql_exception $error ) {
			throw new Away( "The database refuses a statement: {$error->getMessage()}" );
		}
		return $result instanceof \mysqli_result ? $result->fetch_all( MYSQLI_ASSOC ) : [];
	}

	/** @param list<string|int> $values */
	public function number( string $statement, array $values = [] ): int {
		$row = $this->rows( $statement, $values )[0] ?? [ 0 ];
		return (int) reset( $row );
	}

	/** @return list<string> */
	public function tables( ?string $schema = null ): array {
		$rows = $this->rows( "SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_TYPE = 'BASE TABLE'", [ $schema ?? $this->name ] );
		return array_column( $rows, 'name' );
	}

	public static function quoted( string $name ): string {
		return '`' . str_replace( '`', '``', $name ) . '`';
	}
}
