<?php
/** WordPress's part of the set-up: tables, title, address and administrator. */

declare(strict_types=1);

namespace Storefleet;

final class WordPressSetup {
	private const TEMPLATE_USER = 'storefleet_template';

	/** Update the tables for a newer WordPress; an older one leaves them unchanged. */
	public static function update_tables(): void {
		global $wp_db_version;
		if ( (int) get_option( 'db_version' ) < (int) $wp_db_version ) {
			wp_upgrade();
		}
	}

	/** Write the store's own URL, which belongs to the platform; the constants of wp-config.php win. */
	public static function apply_address( Configuration $store ): void {
		$url = rtrim( $store->get_text( 'url' ), '/' );
		self::write_option( 'home', $url );
		self::write_option( 'siteurl', $url );
	}

	/** Set title, theme and administrator of a new store, once. */
	public static function make_new_store( Configuration $store ): void {
		$title = $store->get_optional( 'parameters.title', $store->get_text( 'name' ) );
		Progress::run_on_change( 'title', $title, static fn () => Title::write( $title ) );
		Progress::run_once( 'theme', static fn () => switch_theme( WP_DEFAULT_THEME ) );
		Progress::run_on_change(
			'owner', $store->get_text( 'store_id' ), static fn () => self::assign_to_store( $store )
		);
	}

	/**
	 * Rebuild the cached rewrite rules of this release, from the permalinks that the owner has chosen.
	 * While the owner has deactivated WooCommerce, the next page view builds them without it.
	 */
	public static function update_permalinks(): void {
		Progress::run_on_change(
			'addresses',
			Progress::get_release(),
			static fn () => RequiredPlugin::is_active()
				? flush_rewrite_rules( false )
				: delete_option( 'rewrite_rules' )
		);
	}

	/**
	 * Write the values that are unique to this store; a password that the owner changes later is kept.
	 */
	private static function assign_to_store( Configuration $store ): void {
		self::set_administrator( $store );
		update_option( 'woocommerce_store_id', wp_generate_uuid4() );
		update_option( 'woocommerce_share_key', wp_generate_password( 32, false ) );
		update_option( 'woocommerce_admin_install_timestamp', time() );
		update_option( 'blogdescription', 'Everyday products, delivered to your door.' );
	}

	/** Turn the template's user into this store's administrator, with one statement. */
	private static function set_administrator( Configuration $store ): void {
		global $wpdb;
		$user = (int) get_option( self::TEMPLATE_USER );
		if ( $user < 1 || false === get_userdata( $user ) ) {
			throw new PermanentError(
				'The store has no user to make its administrator. Restore it, or create the store again.'
			);
		}
		$name  = $store->read_secret( 'admin.username_file' );
		$email = 'admin@' . $store->get_text( 'host' );
		$row   = [
			'user_login'          => $name,
			'user_nicename'       => sanitize_title( $name ),
			'display_name'        => $name,
			'user_email'          => $email,
			'user_url'            => rtrim( $store->get_text( 'url' ), '/' ),
			'user_pass'           => wp_hash_password( $store->read_secret( 'admin.password_file' ) ),
			'user_activation_key' => '',
			'user_registered'     => gmdate( 'Y-m-d H:i:s' ),
		];
		if ( false === $wpdb->update( $wpdb->users, $row, [ 'ID' => $user ] ) ) {
			throw new DatabaseUnavailable( "The administrator cannot be saved: {$wpdb->last_error}" );
		}
		clean_user_cache( $user );
		delete_user_meta( $user, 'session_tokens' );
		update_user_meta( $user, 'nickname', $name );
		update_user_meta( $user, 'show_welcome_panel', 0 );
		add_filter( 'send_site_admin_email_change_email', '__return_false' );
		update_option( 'admin_email', $email );
		delete_option( 'new_admin_email' );
		update_option( 'admin_email_lifespan', time() + 10 * YEAR_IN_SECONDS );
		update_option( 'woocommerce_email_from_address', $email );
		update_option( 'woocommerce_stock_email_recipient', $email );
	}

	/** Write an option directly: constants override these two options in WordPress's own functions. */
	private static function write_option( string $name, string $value ): void {
		global $wpdb;
		$query = $wpdb->prepare( "SELECT option_value FROM {$wpdb->options} WHERE option_name = %s", $name );
		if ( $wpdb->get_var( $query ) !== $value ) {
			$wpdb->update( $wpdb->options, [ 'option_value' => $value ], [ 'option_name' => $name ] );
			wp_cache_delete( 'alloptions', 'options' );
		}
	}
}
