# Nothing has an address that the world can reach.
resource "google_compute_network" "main" {
  name                    = "streamcommerce"
  auto_create_subnetworks = false
}

resource "google_compute_subnetwork" "main" {
  name                     = "streamcommerce"
  network                  = google_compute_network.main.id
  ip_cidr_range            = "10.20.0.0/24"
  private_ip_google_access = true
}

resource "google_compute_global_address" "services" {
  name          = "streamcommerce-services"
  network       = google_compute_network.main.id
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 20
}

resource "google_service_networking_connection" "services" {
  network                 = google_compute_network.main.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.services.name]
}
