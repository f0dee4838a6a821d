<?php
/**
 * Create the sample products with their pictures, once and in one transaction; the owner may change
 * them later.
 */

declare(strict_types=1);

namespace Storefleet;

final class SampleProducts {
	private const FOLDER = '/opt/storefleet/shop/goods';
	/** Folder below the uploads; the web server copies the same files there at its start. */
	private const UPLOADS_FOLDER = 'goods';

	public static function ensure_created(): void {
		Progress::run_once( 'goods', [ self::class, 'create_all' ] );
	}

	public static function create_all(): void {
		global $wpdb;
		self::copy_pictures();
		wp_defer_term_counting( true );
		$wpdb->query( 'START TRANSACTION' );
		try {
			foreach ( self::read_list() as $order => $product ) {
				if ( 0 === (int) wc_get_product_id_by_sku( $product['sku'] ) ) {
					self::create_product( $product, $order );
				}
			}
			$wpdb->query( 'COMMIT' );
		} catch ( \Throwable $error ) {
			$wpdb->query( 'ROLLBACK' );
			throw $error;
		} finally {
			wp_defer_term_counting( false );
		}
	}

	/** @return list<array<string, mixed>> */
	public static function read_list(): array {
		$products = json_decode( (string) file_get_contents( self::FOLDER . '/goods.json' ), true );
		return is_array( $products )
			? $products
			: throw new \RuntimeException( 'The list of sample products cannot be read.' );
	}

	/** @param array<string, mixed> $data */
	private static function create_product( array $data, int $order ): void {
		$product = new \WC_Product_Simple();
		$product->set_name( $data['name'] );
		$product->set_slug( $data['slug'] );
		$product->set_sku( $data['sku'] );
		$product->set_status( 'publish' );
		$product->set_catalog_visibility( 'visible' );
		$product->set_regular_price( $data['price'] );
		$product->set_sale_price( $data['sale'] ?? '' );
		$product->set_short_description( $data['short'] );
		$product->set_description( $data['long'] );
		$product->set_weight( $data['weight'] );
		$product->set_featured( $data['featured'] ?? false );
		$product->set_menu_order( $order );
		$product->set_reviews_allowed( false );
		$product->set_category_ids( [ self::ensure_category( $data['category'] ) ] );
		$product->set_image_id( self::create_picture( $data ) );
		if ( $product->save() < 1 ) {
			throw new \RuntimeException( "The sample product “{$data['name']}” cannot be saved." );
		}
	}

	private static function ensure_category( string $name ): int {
		$found = term_exists( $name, 'product_cat' ) ?: wp_insert_term( $name, 'product_cat' );
		if ( is_wp_error( $found ) ) {
			throw new \RuntimeException(
				"The category “{$name}” cannot be saved: {$found->get_error_message()}"
			);
		}
		return (int) ( is_array( $found ) ? $found['term_id'] : $found );
	}

	/** @param array<string, mixed> $data */
	private static function create_picture( array $data ): int {
		$name = self::UPLOADS_FOLDER . "/{$data['picture']}";
		$path = wp_get_upload_dir()['basedir'] . "/{$name}";
		$id   = wp_insert_attachment(
			[
				'post_mime_type' => 'image/jpeg',
				'post_title'     => $data['name'],
				'post_name'      => "{$data['slug']}-picture",
				'post_status'    => 'inherit',
				'post_content'   => '',
			],
			$name,
			0,
			true
		);
		if ( is_wp_error( $id ) ) {
			throw new \RuntimeException(
				"The picture of “{$data['name']}” cannot be saved: {$id->get_error_message()}"
			);
		}
		wp_update_attachment_metadata( $id, wp_generate_attachment_metadata( $id, $path ) );
		update_post_meta( $id, '_wp_attachment_image_alt', $data['alt'] );
		return $id;
	}

	private static function copy_pictures(): void {
		$target = wp_get_upload_dir()['basedir'] . '/' . self::UPLOADS_FOLDER;
		if ( ! wp_mkdir_p( $target ) ) {
			throw new \RuntimeException( "The folder {$target} cannot be created." );
		}
		foreach ( self::read_list() as $product ) {
			if ( ! copy( self::FOLDER . "/{$product['picture']}", "{$target}/{$product['picture']}" ) ) {
				throw new \RuntimeException( "The picture {$product['picture']} cannot be copied." );
			}
		}
	}
}
