<?php
/** PHPMailer that keeps mails in the outbox and opens no connection, whatever transport is set. */

declare(strict_types=1);

namespace Storefleet;

use PHPMailer\PHPMailer\Exception;

defined( 'ABSPATH' ) || exit;

final class OutboxMailer extends \WP_PHPMailer {
	public function send(): bool {
		if ( ! $this->getAllRecipientAddresses() ) {
			throw new Exception( 'The mail has no valid recipient address.', self::STOP_CRITICAL );
		}
		$body       = $this->decode( $this->Body );
		$other_body = '' === $this->AltBody ? null : $this->decode( $this->AltBody );
		$is_html    = null !== $other_body || self::CONTENT_TYPE_TEXT_HTML === strtolower( $this->ContentType );
		$kept       = Outbox::add(
			[
				'from'        => $this->format_address( [ $this->From, $this->FromName ] ),
				'to'          => $this->format_addresses( $this->getToAddresses() ),
				'cc'          => $this->format_addresses( $this->getCcAddresses() ),
				'bcc'         => $this->format_addresses( $this->getBccAddresses() ),
				'reply_to'    => $this->format_addresses( $this->getReplyToAddresses() ),
				'subject'     => $this->decode_header( $this->Subject ),
				'text'        => $is_html ? $other_body : $body,
				'html'        => $is_html ? $body : null,
				'attachments' => count( $this->getAttachments() ),
			]
		);
		if ( ! $kept ) {
			throw new Exception( 'The mail cannot be kept in the outbox.', self::STOP_CRITICAL );
		}
		return true;
	}

	/**
	 * @param array<array-key, array{0: string, 1?: string}> $addresses
	 * @return list<string>
	 */
	private function format_addresses( array $addresses ): array {
		return array_map( [ $this, 'format_address' ], array_values( $addresses ) );
	}

	/** @param array{0: string, 1?: string} $address */
	private function format_address( array $address ): string {
		$name = trim( $this->decode_header( $address[1] ?? '' ), " \t\"" );
		return '' === $name ? $address[0] : "{$name} <{$address[0]}>";
	}

	/** Decode the “=?UTF-8?B?…?=” that some plugins put into subjects and names. */
	private function decode_header( string $value ): string {
		$value = $this->decode( $value );
		if ( ! str_contains( $value, '=?' ) ) {
			return $value;
		}
		$decoded = iconv_mime_decode( $value, ICONV_MIME_DECODE_CONTINUE_ON_ERROR, 'UTF-8' );
		return is_string( $decoded ) ? $decoded : $value;
	}

	private function decode( string $text ): string {
		if ( 'utf-8' === strtolower( $this->CharSet ) ) {
			return $text;
		}
		$decoded = @iconv( $this->CharSet, 'UTF-8//IGNORE', $text );
		return is_string( $decoded ) ? $decoded : $text;
	}
}
