# Two identities, each with what its program does and no more. No key files: they are attached to where it runs.
resource "google_service_account" "orchestrator" {
  account_id   = "streamcommerce"
  display_name = "StreamCommerce orchestrator"
}

resource "google_service_account" "streaming" {
  account_id   = "streamcommerce-streaming"
  display_name = "StreamCommerce streaming worker"
}

# Reads manifests and files; changes nothing in the bucket.
resource "google_storage_bucket_iam_member" "orchestrator_reads" {
  bucket = google_storage_bucket.lake.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.orchestrator.member
}

# Creates, lists and moves objects; a move deletes its source, so the built-in creator role is not enough.
resource "google_project_iam_custom_role" "lake_writer" {
  role_id = "streamcommerceLakeWriter"
  title   = "StreamCommerce lake writer"
  permissions = [
    "storage.objects.create",
    "storage.objects.get",
    "storage.objects.list",
    "storage.objects.move",
  ]
}

resource "google_storage_bucket_iam_member" "streaming_writes" {
  bucket = google_storage_bucket.lake.name
  role   = google_project_iam_custom_role.lake_writer.id
  member = google_service_account.streaming.member
}

resource "google_project_iam_member" "orchestrator_runs_jobs" {
  project = var.project
  role    = "roles/bigquery.jobUser"
  member  = google_service_account.orchestrator.member
}

resource "google_bigquery_dataset_iam_member" "orchestrator_edits" {
  for_each   = toset([google_bigquery_dataset.staging.dataset_id, google_bigquery_dataset.production.dataset_id])
  dataset_id = each.value
  role       = "roles/bigquery.dataEditor"
  member     = google_service_account.orchestrator.member
}

resource "google_project_iam_member" "streaming_uses_kafka" {
  project = var.project
  role    = "roles/managedkafka.client"
  member  = google_service_account.streaming.member
}

resource "google_secret_manager_secret_iam_member" "orchestrator_reads" {
  for_each  = google_secret_manager_secret.orchestrator
  secret_id = each.value.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.orchestrator.member
}
