<?php
/**
 * The mails that the store would send, in a table of its database: the newest ones, with bounded
 * bodies. The table is created by the first mail.
 */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class Outbox {
	private const MAILS_MAX        = 200;
	private const BODY_BYTES_MAX   = 262_144;
	private const SUBJECT_BYTES    = 1_000;
	private const ADDRESS_BYTES    = 400;
	private const ADDRESSES_MAX    = 40;
	private const TABLE_IS_MISSING = 1146;

	/**
	 * Keep a mail and delete the oldest ones; return false if the database rejects it.
	 *
	 * @param array{from: string, to: list<string>, cc: list<string>, bcc: list<string>, reply_to: list<string>, subject: string, text: ?string, html: ?string, attachments: int} $mail
	 */
	public static function add( array $mail ): bool {
		global $wpdb;
		$addresses = [];
		foreach ( [ 'to', 'cc', 'bcc', 'reply_to' ] as $name ) {
			$addresses[ $name ] = array_map(
				static fn ( string $address ): string => self::cut_header( $address, self::ADDRESS_BYTES ),
				array_slice( $mail[ $name ], 0, self::ADDRESSES_MAX )
			);
		}
		$row   = [
			'created_at'  => gmdate( 'Y-m-d H:i:s' ),
			'sender'      => self::cut_header( $mail['from'], self::ADDRESS_BYTES ),
			'addresses'   => self::encode( $addresses ),
			'subject'     => self::cut_header( $mail['subject'], self::SUBJECT_BYTES ),
			'text'        => null === $mail['text'] ? null : self::cut( $mail['text'], self::BODY_BYTES_MAX ),
			'html'        => null === $mail['html'] ? null : self::cut( $mail['html'], self::BODY_BYTES_MAX ),
			'truncated'   => (int) ( max( strlen( $mail['text'] ?? '' ), strlen( $mail['html'] ?? '' ) ) > self::BODY_BYTES_MAX ),
			'attachments' => min( $mail['attachments'], 65_535 ),
		];
		$hidden = $wpdb->suppress_errors();
		$kept   = $wpdb->insert( self::get_table(), $row );
		if ( false === $kept && self::is_table_missing() ) {
			self::create_table();
			$kept = $wpdb->insert( self::get_table(), $row );
		}
		if ( false === $kept ) {
			error_log( "A mail cannot be kept in the outbox: {$wpdb->last_error}" );
		} else {
			self::delete_old_mails();
		}
		$wpdb->suppress_errors( $hidden );
		return false !== $kept;
	}

	/**
	 * List mails without their bodies, newest first, at most one more than `limit`.
	 *
	 * @return list<array<string, mixed>>
	 */
	public static function list_mails( int $limit, ?int $before ): array {
		global $wpdb;
		$columns = 'id, created_at, sender, addresses, subject';
		return self::read(
			$wpdb->prepare(
				"SELECT {$columns} FROM %i WHERE id < %d ORDER BY id DESC LIMIT %d",
				self::get_table(),
				$before ?? PHP_INT_MAX,
				$limit + 1
			),
			with_bodies: false
		);
	}

	/** @return array<string, mixed>|null */
	public static function find_mail( int $id ): ?array {
		global $wpdb;
		$statement = $wpdb->prepare( 'SELECT * FROM %i WHERE id = %d', self::get_table(), $id );
		return self::read( $statement, with_bodies: true )[0] ?? null;
	}

	/** @return list<array<string, mixed>> */
	private static function read( string $statement, bool $with_bodies ): array {
		global $wpdb;
		$hidden = $wpdb->suppress_errors();
		$rows   = $wpdb->get_results( $statement, ARRAY_A );
		$failed = '' !== $wpdb->last_error && ! self::is_table_missing();
		$wpdb->suppress_errors( $hidden );
		if ( $failed ) {
			throw new \RuntimeException( "The outbox cannot be read: {$wpdb->last_error}" );
		}
		return array_map(
			static fn ( array $row ): array => self::make_mail( $row, $with_bodies ), $rows ?? []
		);
	}

	/**
	 * @param array<string, mixed> $row
	 * @return array<string, mixed>
	 */
	private static function make_mail( array $row, bool $with_bodies ): array {
		$addresses = json_decode( (string) $row['addresses'], true ) ?: [];
		$mail      = [
			'id'         => (string) $row['id'],
			'created_at' => str_replace( ' ', 'T', (string) $row['created_at'] ) . 'Z',
			'from'       => $row['sender'],
			'to'         => $addresses['to'] ?? [],
			'subject'    => $row['subject'],
		];
		if ( $with_bodies ) {
			$mail += [
				'cc'          => $addresses['cc'] ?? [],
				'bcc'         => $addresses['bcc'] ?? [],
				'reply_to'    => $addresses['reply_to'] ?? [],
				'attachments' => (int) $row['attachments'],
				'text'        => $row['text'],
				'html'        => $row['html'],
				'truncated'   => (bool) $row['truncated'],
			];
		}
		return $mail;
	}

	/** Ids have gaps after failed transactions, so rows are counted. */
	private static function delete_old_mails(): void {
		global $wpdb;
		$oldest = $wpdb->get_var(
			$wpdb->prepare(
				'SELECT id FROM %i ORDER BY id DESC LIMIT 1 OFFSET %d', self::get_table(), self::MAILS_MAX
			)
		);
		if ( null !== $oldest ) {
			$wpdb->query(
				$wpdb->prepare( 'DELETE FROM %i WHERE id <= %d', self::get_table(), $oldest )
			);
		}
	}

	private static function create_table(): void {
		global $wpdb;
		$wpdb->query(
			$wpdb->prepare(
				'CREATE TABLE IF NOT EXISTS %i (
					id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
					created_at datetime NOT NULL,
					sender text NOT NULL,
					addresses mediumtext NOT NULL,
					subject text NOT NULL,
					text mediumtext NULL,
					html mediumtext NULL,
					truncated tinyint unsigned NOT NULL,
					attachments smallint unsigned NOT NULL
				) DEFAULT CHARACTER SET utf8mb4',
				self::get_table()
			)
		);
	}

	private static function is_table_missing(): bool {
		global $wpdb;
		return $wpdb->dbh instanceof \mysqli && self::TABLE_IS_MISSING === $wpdb->dbh->errno;
	}

	private static function get_table(): string {
		global $wpdb;
		return "{$wpdb->prefix}storefleet_mail";
	}

	/**
	 * Cut text to a number of bytes between characters; replace what is not UTF-8, and drop control
	 * characters, which JSON would make six times longer.
	 */
	private static function cut( string $text, int $bytes_max ): string {
		$text = (string) preg_replace( '/[\x00-\x08\x0b\x0c\x0e-\x1f]/', '', mb_scrub( $text, 'UTF-8' ) );
		return mb_strcut( $text, 0, $bytes_max, 'UTF-8' );
	}

	/** The same for a header, which is one line. */
	private static function cut_header( string $text, int $bytes_max ): string {
		return self::cut( trim( (string) preg_replace( '/\s+/u', ' ', mb_scrub( $text, 'UTF-8' ) ) ), $bytes_max );
	}

	private static function encode( mixed $value ): string {
		return (string) json_encode( $value, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE );
	}
}
