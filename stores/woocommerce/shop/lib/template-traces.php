<?php
/**
 * Remove the template's own names and times from a new store's database, in one transaction.
 *
 * The template is built long before the store is created, under a host name of its own. Its names
 * are replaced in every text column of every table, and its times are moved to the present: posts,
 * scheduled actions, notes. Plugins save both in places that change with their versions, so the
 * tables are read, not listed here.
 */

declare(strict_types=1);

namespace Storefleet;

final class TemplateTraces {
	/** The row of wp_options that says when the template was built: "<first second> <last second>". */
	public const OPTION         = 'storefleet_template_built';
	public const HOST           = 'template.localhost';
	public const USER           = 'storefleet-template';
	public const EMAIL          = 'nobody@example.invalid';
	private const TEXT_TYPES    = '/char|text|json|enum/';
	private const INTEGER_TYPES = '/^(big)?int$/';
	private const TIME_TYPES    = '/^(datetime|timestamp)$/';
	/** Scheduled actions lie in the future of the build, the farthest a year. */
	private const FUTURE_S = 400 * 86_400;

	private function __construct(
		private readonly Database $database,
		private readonly TemplateText $text,
		private readonly int $from,
		private readonly int $shift,
	) {}

	/** Record at the end of a build that this database is a template. */
	public static function mark( Database $database, int $from, int $until ): void {
		$database->execute(
			"REPLACE INTO wp_options (option_name, option_value, autoload) VALUES (?, ?, 'off')",
			[ self::OPTION, "{$from} {$until}" ]
		);
	}

	/** Remove the traces once; a store without them is left unchanged. */
	public static function remove( Database $database, Configuration $store ): void {
		$rows = $database->fetch_rows(
			'SELECT option_value FROM wp_options WHERE option_name = ?', [ self::OPTION ]
		);
		if ( 1 !== preg_match( '/^(\d+) (\d+)$/', (string) ( $rows[0]['option_value'] ?? '' ), $built ) ) {
			return;
		}
		$from  = (int) $built[1];
		$shift = time() - (int) $built[2];
		$text  = new TemplateText( self::list_names( $store ), $from, $from + self::FUTURE_S, $shift );
		$database->execute( 'START TRANSACTION' );
		$database->execute( 'DELETE FROM wp_options WHERE option_name = ?', [ self::OPTION ] );
		( new self( $database, $text, $from, $shift ) )->rewrite_tables();
		$database->execute( 'COMMIT' );
	}

	/** @return array<string, string> */
	private static function list_names( Configuration $store ): array {
		$url  = rtrim( $store->get_text( 'url' ), '/' );
		$host = $store->get_text( 'host' );
		return [
			'http:\/\/' . self::HOST => str_replace( '/', '\/', $url ),
			'http://' . self::HOST   => $url,
			self::HOST               => $host,
			self::EMAIL              => "admin@{$host}",
			self::USER               => $store->read_secret( 'admin.username_file' ),
		];
	}

	private function rewrite_tables(): void {
		$tables = [];
		foreach (
			$this->database->fetch_rows(
				'SELECT c.TABLE_NAME AS t, c.COLUMN_NAME AS name, c.DATA_TYPE AS type, c.COLUMN_KEY AS k
				   FROM information_schema.COLUMNS c
				   JOIN information_schema.TABLES USING (TABLE_SCHEMA, TABLE_NAME)
				  WHERE TABLE_SCHEMA = ? AND TABLE_TYPE = ?',
				[ $this->database->name, 'BASE TABLE' ]
			) as $column
		) {
			$tables[ $column['t'] ][] = $column;
		}
		foreach ( $tables as $table => $columns ) {
			$this->rewrite_times( $table, $columns );
			$this->rewrite_texts( $table, $columns );
		}
	}

	/** @param list<array<string, string>> $columns */
	private function rewrite_times( string $table, array $columns ): void {
		$sets = [];
		foreach ( $columns as $column ) {
			$name = Database::quote_name( $column['name'] );
			if ( 1 === preg_match( self::TIME_TYPES, $column['type'] ) ) {
				$sets[] = "{$name} = IF({$name} >= FROM_UNIXTIME({$this->from}),"
					. " {$name} + INTERVAL {$this->shift} SECOND, {$name})";
			} elseif ( 1 === preg_match( self::INTEGER_TYPES, $column['type'] ) && 'PRI' !== $column['k'] ) {
				$until  = $this->from + self::FUTURE_S;
				$sets[] = "{$name} = IF({$name} BETWEEN {$this->from} AND {$until},"
					. " {$name} + {$this->shift}, {$name})";
			}
		}
		if ( [] !== $sets ) {
			$this->database->execute(
				'UPDATE ' . Database::quote_name( $table ) . ' SET ' . implode( ', ', $sets )
			);
		}
	}

	/** @param list<array<string, string>> $columns */
	private function rewrite_texts( string $table, array $columns ): void {
		$is_text = static fn ( array $column ): bool => 1 === preg_match( self::TEXT_TYPES, $column['type'] );
		$keys    = array_column( array_filter( $columns, static fn ( $each ) => 'PRI' === $each['k'] ), 'name' );
		$texts   = array_column( array_filter( $columns, $is_text ), 'name' );
		if ( [] === $keys || [] === $texts ) {
			return;
		}
		$quoted = array_map( Database::quote_name( ... ), array_unique( [ ...$keys, ...$texts ] ) );
		$from   = Database::quote_name( $table );
		foreach ( $this->database->fetch_rows( 'SELECT ' . implode( ', ', $quoted ) . " FROM {$from}" ) as $row ) {
			$changed = [];
			foreach ( $texts as $name ) {
				$value = $this->text->rewrite( (string) $row[ $name ] );
				if ( $value !== (string) $row[ $name ] ) {
					$changed[ $name ] = $value;
				}
			}
			if ( [] !== $changed ) {
				$set   = array_map( self::write_condition( ... ), array_keys( $changed ) );
				$where = array_map( self::write_condition( ... ), $keys );
				$this->database->execute(
					"UPDATE {$from} SET " . implode( ', ', $set ) . ' WHERE ' . implode( ' AND ', $where ),
					[ ...array_values( $changed ), ...array_map( static fn ( $key ) => $row[ $key ], $keys ) ]
				);
			}
		}
	}

	private static function write_condition( string $name ): string {
		return Database::quote_name( $name ) . ' = ?';
	}
}
